#include "cli/verbs.hpp"

namespace moescope::cli {

std::vector<add_verb> all_verbs() {
    return {
        add_map,
    };
}

}  // namespace moescope::cli
