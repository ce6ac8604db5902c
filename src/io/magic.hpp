#pragma once

#include <string>
#include <string_view>

namespace moescope::io {

// Whether a file begins with these bytes. False where it cannot be read: whoever opens it says why.
bool begins_with(const std::string & path, std::string_view magic);

}  // namespace moescope::io
