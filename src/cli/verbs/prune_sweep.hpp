#pragma once

#include "cli/verbs/prune_decision.hpp"

namespace moescope::cli {

// `prune --sweep`: plans of several sizes side by side, with --evaluate what each costs. Nothing is written.
void sweep_plans(const prune_options & o);

}  // namespace moescope::cli
