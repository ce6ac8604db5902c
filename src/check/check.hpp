#pragma once

// Everything `moescope check` looks at: the files of a trace, then what is in them.

#include <string>
#include <vector>

#include "check/integrity.hpp"
#include "check/invariants.hpp"

namespace moescope::check {

struct check_result {
    std::vector<part_integrity> parts;     // of a trace; empty for a foreign log
    std::vector<finding>        findings;  // what is wrong; empty: nothing is
    std::vector<std::string>    notes;     // what is worth knowing, but not wrong
    invariant_result            invariants;
};

// Reads the trace or foreign log through, as far as it can be read. Throws error only where it is neither.
check_result check_trace(const std::string & path);

}  // namespace moescope::check
