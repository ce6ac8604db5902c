#pragma once

#include <cstddef>

#include "cli/terminal/answer.hpp"
#include "evaluate/evaluation.hpp"

namespace moescope::cli {

// What an evaluation says, in words and tables; docs/evaluate.md describes the JSON. top: experts in the table of --each.
answer answer_evaluation(const evaluate::evaluation & e, size_t top);

}  // namespace moescope::cli
