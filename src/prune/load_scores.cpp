#include "prune/load_scores.hpp"

#include <fmt/format.h>

#include "core/error.hpp"
#include "gguf/fingerprint.hpp"
#include "stats/moestats.hpp"

namespace moescope::prune {

namespace {

double score_of(const stats::saliency_block & block, uint32_t e, prune_criterion criterion) {
    switch (criterion) {
        case prune_criterion::reap: return block.reap(e);
        case prune_criterion::ean: return block.ean(e);
        case prune_criterion::frequency: return block.frequency(e);
        case prune_criterion::gate: return block.mean_gate(e);
        case prune_criterion::weighted_frequency: return block.rows > 0 ? block.gate[e] / double(block.rows) : 0.0;
        default: throw usage_error(fmt::format("criterion {} takes no statistics", criterion_name(criterion)));
    }
}

}  // namespace

expert_scores load_scores(const std::string & path, prune_criterion criterion) {
    if (!stats::is_moestats(path)) {
        return read_expert_scores(path, criterion);
    }
    const stats::moestats profile = stats::read_moestats(path);
    expert_scores         scores;
    scores.source = path;
    for (const stats::saliency_block * block : profile.routed()) {
        if (criterion == prune_criterion::ean && block->norms_gated()) {
            throw usage_error("this model gates its experts' input, so their norms already include the gate")
                .in(path)
                .fix("use --criterion reap");
        }
        std::vector<double> & layer = scores.layers[block->layer];
        for (uint32_t e = 0; e < block->n_expert; ++e) {
            layer.push_back(score_of(*block, e, criterion));
        }
    }
    return scores;
}

std::string doubt_about_scores(const std::string & path, const std::string & model) {
    if (!stats::is_moestats(path)) {
        return "";
    }
    const stats::moestats profile = stats::read_moestats(path);
    if (profile.model_fingerprint != gguf::fingerprint(model)) {
        return fmt::format(
            "{} was measured on another file ({}, {} bytes): its scores are valid only if the same ids are the "
            "same experts",
            path, profile.model.file, profile.model.file_size);
    }
    return profile.complete() ? "" : path + " is not finished: it covers only part of its corpus";
}

}  // namespace moescope::prune
