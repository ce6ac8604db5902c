#pragma once

#include <string>
#include <vector>

namespace moescope::cli {

// The field `key` of every line of a JSONL file, in order, as text. Throws error where a line lacks it.
std::vector<std::string> read_label_field(const std::string & path, const std::string & key);

}  // namespace moescope::cli
