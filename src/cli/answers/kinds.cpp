#include "cli/answers/kinds.hpp"

namespace moescope::cli {

// Each is defined in answers/<kind>.cpp.
void add_frequency(CLI::App & analyze);
void add_gate_drift(CLI::App & analyze);
void add_coactivation(CLI::App & analyze);
void add_specialization(CLI::App & analyze);
void add_vocabulary(CLI::App & analyze);
void add_temporal(CLI::App & analyze);
void add_stability(CLI::App & analyze);
void add_compare(CLI::App & analyze);
void add_cache(CLI::App & analyze);
void add_prefetch(CLI::App & analyze);
void add_placement(CLI::App & analyze);

std::vector<add_kind> all_kinds() {
    return {
        add_frequency, add_gate_drift, add_coactivation, add_specialization, add_vocabulary, add_temporal,
        add_stability, add_compare,    add_cache,        add_prefetch,       add_placement,
    };
}

}  // namespace moescope::cli
