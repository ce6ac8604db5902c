#pragma once

#include <string>

namespace moescope::cli {

// The licence texts of moescope and of everything that its files contain (cmake/Licences.cmake collects them).
std::string licences();

}  // namespace moescope::cli
