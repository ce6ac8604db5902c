#include "source_dir.hpp"

namespace moescope::test {

std::string source_dir() {
    return MOESCOPE_SOURCE_DIR;
}

}  // namespace moescope::test
