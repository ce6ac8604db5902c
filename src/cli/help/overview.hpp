#pragma once

#include <string>

namespace CLI {
class App;
}

namespace moescope::cli {

// What `moescope` alone prints: what it is for, three examples, and the verbs by group.
std::string overview(const CLI::App & app);

}  // namespace moescope::cli
