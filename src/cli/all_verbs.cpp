#include "cli/verbs.hpp"

namespace moescope::cli {

std::vector<add_verb> all_verbs() {
    return {};
}

}  // namespace moescope::cli
