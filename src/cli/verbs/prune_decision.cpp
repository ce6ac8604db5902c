#include "cli/verbs/prune_decision.hpp"

#include <fmt/format.h>

#include "cli/answers/profile_files.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"
#include "gguf/head.hpp"
#include "prune/expert_choice.hpp"
#include "prune/expert_ids.hpp"
#include "prune/keep_for_size.hpp"
#include "prune/load_scores.hpp"

namespace moescope::cli {

namespace {

// Whether an expert_stats.json has what the criterion needs.
bool supports(const std::string & stats, prune::prune_criterion c) {
    try {
        prune::read_expert_scores(stats, c);
        return true;
    } catch (const error &) {
        return false;
    }
}

prune::prune_criterion best_of_profile(const stats::moestats & profile) {
    const bool norms = prune::lacks(profile, prune::prune_criterion::reap_sum).empty();
    return norms ? prune::prune_criterion::reap_sum : prune::prune_criterion::frequency;
}

// The one that wins in docs/pruning-demo.md, or the best that the statistics support.
prune::prune_criterion default_criterion(const prune_options & o, decision & d) {
    if (o.stats.empty() || (d.profile && prune::lacks(*d.profile, prune::prune_criterion::removal).empty())) {
        return prune::prune_criterion::removal;
    }
    const auto best = gguf::is_gguf(o.stats)                                ? prune::prune_criterion::frequency
                      : d.profile                                           ? best_of_profile(*d.profile)
                      : supports(o.stats, prune::prune_criterion::reap_sum) ? prune::prune_criterion::reap_sum
                                                                            : prune::prune_criterion::reap;
    d.said          = fmt::format("by {}: {} {}", prune::criterion_name(best), printable(o.stats),
                         d.profile && best == prune::prune_criterion::frequency
                                      ? prune::lacks(*d.profile, prune::prune_criterion::reap_sum) +
                                   " (record with --capture ids,weights,norms)"
                                      : "has no removal errors");
    return best;
}

prune::label_balance balance_of(const prune_options & o, const decision & d) {
    if (!o.balance.empty()) {
        return prune::parse_balance(o.balance);
    }
    return d.profile ? prune::default_balance(*d.profile, d.scores.criterion) : prune::label_balance::rows;
}

void choose_criterion(const prune_options & o, decision & d) {
    if (o.criterion == "ean") {
        d.said = "ean is called man: the mean norm of an expert's output (ean-sum is the sum)";
    }
    d.scores.criterion  = o.criterion.empty() ? default_criterion(o, d) : prune::parse_criterion(o.criterion);
    d.scores.balance    = balance_of(o, d);
    d.request.criterion = d.scores.criterion;
}

void protect_super_experts(const prune_options & o, decision & d) {
    if (!o.protect_super) {
        return;
    }
    if (!d.profile) {
        throw usage_error("--protect-super needs --stats with a .moestats or a trace");
    }
    for (const auto & [il, ids] : prune::super_experts(*d.profile, o.stats)) {
        auto & list = d.request.protect[il];
        list.insert(list.end(), ids.begin(), ids.end());
        for (const int32_t id : ids) {
            note(fmt::format("expert {} of layer {} stays: its outputs are extreme", id, il));
        }
    }
}

}  // namespace

const std::string & ids_file(const prune_options & o) {
    return o.keep_ids.empty() ? o.drop_ids : o.keep_ids;
}

decision decide(const prune_options & o, const gguf::model_file & model) {
    decision d;
    d.request.protect = prune::parse_expert_ids(o.protect, "--protect");
    d.request.seed    = o.seed;
    if (!o.stats.empty()) {
        d.profile = read_sums(o.stats);
    }
    protect_super_experts(o, d);
    if (!ids_file(o).empty()) {
        d.request.criterion = prune::prune_criterion::ids;
        d.request.keep_ids  = o.drop_ids.empty() ? prune::read_expert_ids(o.keep_ids)
                                                 : prune::other_ids(prune::read_expert_ids(o.drop_ids),
                                                                    gguf::read_moe_shape(model.metadata()).n_expert);
        return d;
    }
    choose_criterion(o, d);
    if (d.request.criterion == prune::prune_criterion::ids) {
        throw usage_error("--criterion ids needs --keep-ids FILE or --drop-ids FILE");
    }
    if (d.request.criterion != prune::prune_criterion::random && o.stats.empty()) {
        throw usage_error(fmt::format("--criterion {} needs --stats FILE", prune::criterion_name(d.request.criterion)))
            .fix("moescope profile makes one");
    }
    return d;
}

prune::prune_plan plan_for(const prune_options & o, const gguf::model_file & model, decision & d, uint32_t n_keep) {
    d.request.n_keep = n_keep;
    d.scores.shape   = gguf::read_moe_shape(model.metadata());
    d.scores.n_keep  = n_keep;
    d.scores.protect = d.request.protect;
    const bool scored =
        d.request.criterion != prune::prune_criterion::ids && d.request.criterion != prune::prune_criterion::random;
    if (scored) {
        if (d.scores.criterion == prune::prune_criterion::hope) {
            prune::check_expert_count(d.scores.shape, n_keep);
        }
        d.request.scores =
            d.profile ? prune::scores_of_profile(*d.profile, o.stats, d.scores) : prune::load_scores(o.stats, d.scores);
    }
    prune::prune_plan plan = prune::plan_prune(model, d.request);
    if (scored && d.profile) {
        const prune::score_doubt doubt = prune::doubt_about_scores(*d.profile, o.stats, model);
        if (doubt.serious) {
            plan.warnings.push_back(doubt.text);
        } else if (!doubt.text.empty()) {
            note(printable(doubt.text));
        }
    }
    return plan;
}

uint32_t n_keep_of(const prune_options & o, const gguf::model_file & model) {
    if (!ids_file(o).empty()) {
        return 0;
    }
    if (int(o.keep > 0) + int(o.ratio >= 0) + int(!o.size.empty()) != 1) {
        throw usage_error("give one of --keep N, --ratio R and --size BYTES");
    }
    if (!o.size.empty()) {
        return prune::keep_for_size(model, parse_bytes(o.size, "--size"));
    }
    return o.keep > 0 ? o.keep : prune::keep_for_ratio(gguf::read_moe_shape(model.metadata()), o.ratio);
}

std::string criterion_text(const decision & d) {
    const std::string name = prune::criterion_name(d.request.criterion);
    return d.scores.balance == prune::label_balance::rows || d.request.criterion == prune::prune_criterion::ids
               ? name
               : fmt::format("{}, balance {}", name, prune::balance_name(d.scores.balance));
}

// A plan that evaluate makes of the same options; what it has no option for, it can only read from the file.
std::string evaluate_command(const prune_options & o, const decision & d, const std::string & n_keep) {
    std::string plan;
    if (!o.drop_ids.empty() || !d.request.protect.empty()) {
        plan = "--against " + (o.output.empty() ? "small.gguf" : printable(o.output));
    } else if (!o.keep_ids.empty()) {
        plan = "--keep-ids " + printable(o.keep_ids);
    } else {
        const bool seeded = d.request.criterion == prune::prune_criterion::random && o.seed != 0;
        plan =
            fmt::format("{}--criterion {}{}{} --keep {}", o.stats.empty() ? "" : "--stats " + printable(o.stats) + " ",
                        prune::criterion_name(d.request.criterion), o.balance.empty() ? "" : " --balance " + o.balance,
                        seeded ? fmt::format(" --seed {}", o.seed) : "", n_keep);
    }
    return fmt::format("moescope evaluate -m {} --jsonl held-out.jsonl {}", printable(o.model), plan);
}

void say_choice(const decision & d) {
    if (!d.said.empty()) {
        note(d.said);
    }
}

}  // namespace moescope::cli
