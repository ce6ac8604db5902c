#pragma once

// Rows of a query, for people and for programs.

#include <cstdio>

#include "sql/result.hpp"

namespace moescope::cli {

enum class rows_style { box, csv, json };

// box: DuckDB's own frame, with at most so many rows as fit a screen, columns that do not fit its width left out in the
// middle. csv: with a heading; null is an empty field, an empty text is "", lists are JSON. json: an array of objects.
// Writes as it reads, so memory is bounded. A result without columns prints nothing.
void print_rows(sql::query_result & result, rows_style style, std::FILE * out);

}  // namespace moescope::cli
