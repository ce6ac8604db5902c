#pragma once

// What the options of `prune` ask for: which criterion, which scores, which experts stay in any case.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gguf/model_file.hpp"
#include "prune/plan.hpp"
#include "prune/profile_scores.hpp"
#include "stats/moestats.hpp"

namespace moescope::cli {

struct prune_options {
    std::string              model, stats, criterion, balance, keep_ids, drop_ids, pruneset, imatrix, output, size;
    std::vector<std::string> protect;
    std::vector<uint32_t>    sweep;
    std::string              held_out, label_key;            // of --sweep --evaluate
    double                   budget_nll = 0, budget_kl = 0;  // nats; 0: none
    int32_t                  threads       = 0;              // 0: as many as processors
    uint32_t                 keep          = 0;
    double                   ratio         = -1;
    uint64_t                 seed          = 0;
    bool                     protect_super = false, force = false, dry_run = false, json = false, quiet = false;
};

// What is decided, and by what.
struct decision {
    prune::prune_request           request;
    prune::score_request           scores;
    std::optional<stats::moestats> profile;  // where the statistics are one
    std::string                    said;     // of the criterion, once all is well
};

// Without the number of experts, and the scores, which may depend on it.
decision decide(const prune_options & o, const gguf::model_file & model);

// The file that lists experts, to keep or to drop; "" where a criterion chooses.
const std::string & ids_file(const prune_options & o);

// The plan for so many experts (0 with a list of ids); d gets the scores.
prune::prune_plan plan_for(const prune_options & o, const gguf::model_file & model, decision & d, uint32_t n_keep);

// What --keep, --ratio or --size ask for.
uint32_t n_keep_of(const prune_options & o, const gguf::model_file & model);

// How to find out what the plan costs: measured by masks, without a file.
std::string evaluate_command(const prune_options & o, const decision & d, const std::string & n_keep);

void say_choice(const decision & d);

// "removal, balance labels".
std::string criterion_text(const decision & d);

}  // namespace moescope::cli
