#pragma once

#include <string>
#include <vector>

namespace moescope::sql {

// One trace, or whatever else open_source reads.
struct run {
    std::string name;  // in the column `run`; unlike those of the other runs
    std::string path;
};

// Names for the runs of these files: their names without folder and ending, made different by a number.
std::vector<run> name_runs(const std::vector<std::string> & paths);

}  // namespace moescope::sql
