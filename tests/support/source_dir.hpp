#pragma once

#include <string>

namespace moescope::test {

// The checkout that the tests were built from. Its path is compiled into one file alone, so that checkouts share the rest.
std::string source_dir();

}  // namespace moescope::test
