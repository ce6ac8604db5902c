#pragma once

#include <string>

namespace moescope::report {

// The built page (web/), without data: one self-contained HTML file.
const std::string & page_template();

// The page with its data inside, from to_bytes(). The data is base64 in a script element of a type that no browser
// runs, so nothing of it can be taken for markup or code.
std::string page_with_data(const std::string & bytes);

// The Content-Security-Policy that the page carries: scripts and styles by their hash, nothing from elsewhere.
std::string content_security_policy();

}  // namespace moescope::report
