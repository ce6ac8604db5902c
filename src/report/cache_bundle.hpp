#pragma once

#include <nlohmann/json.hpp>

#include "report/bundle.hpp"
#include "report/page_data.hpp"

namespace moescope::report {

// Caches and foresight under the names of page_data.hpp; null where there are none.
nlohmann::json cache_json(bundle & b, const page_cache & c);

}  // namespace moescope::report
