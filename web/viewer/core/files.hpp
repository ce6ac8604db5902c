#pragma once

#include <cstdint>
#include <string>
#include <vector>

// The files that the browser handed over, whole and in memory. io::mapped_file finds them by their names.
namespace moescope::viewer {

struct memory_file {
    std::string          name;
    std::vector<uint8_t> bytes;
};

// All of them, in the order in which they came.
std::vector<memory_file> & memory_files();

}  // namespace moescope::viewer
