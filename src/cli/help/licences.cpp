#include "cli/help/licences.hpp"

namespace moescope::cli {

// Made by the build (src/cli/CMakeLists.txt).
extern const unsigned char licence_text_bytes[];
extern const unsigned long licence_text_size;

std::string licences() {
    return {reinterpret_cast<const char *>(licence_text_bytes), licence_text_size};
}

}  // namespace moescope::cli
