#pragma once

#include "sql/engine/table.hpp"

namespace moescope::sql {

table selections_table();
table rows_table();
table scores_table();
table tokens_table();
table experts_table();
table model_table();

}  // namespace moescope::sql
