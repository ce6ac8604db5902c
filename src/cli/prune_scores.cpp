#include "cli/prune_scores.hpp"

#include <cstring>

#include <fmt/format.h>

#include "core/error.hpp"
#include "gguf/input_file.hpp"
#if __has_include("stats/moestats.hpp")   // src/stats joins the tree on its own
#include "stats/moestats.hpp"
#define MOESCOPE_HAS_STATS
#endif

namespace moescope::cli {

namespace {

bool is_moestats(const std::string & path) {
    const input_file file(path);
    char             magic[8] = {};
    if (file.size() >= sizeof(magic)) {
        file.read_at(0, magic, sizeof(magic));
    }
    return std::memcmp(magic, "MOESTATS", sizeof(magic)) == 0;
}

#ifdef MOESCOPE_HAS_STATS
double score_of(const stats::saliency_block & block, uint32_t e, prune_criterion criterion) {
    switch (criterion) {
        case prune_criterion::reap:               return block.reap(e);
        case prune_criterion::ean:                return block.ean(e);
        case prune_criterion::frequency:          return block.frequency(e);
        case prune_criterion::gate:               return block.mean_gate(e);
        case prune_criterion::weighted_frequency: return block.rows > 0 ? block.gate[e] / double(block.rows) : 0.0;
        default: throw usage_error(fmt::format("criterion {} takes no statistics", criterion_name(criterion)));
    }
}

expert_scores read_moestats_scores(const std::string & path, prune_criterion criterion) {
    const stats::moestats profile = stats::read_moestats(path);
    expert_scores         scores;
    scores.source = path;
    for (const stats::saliency_block * block : profile.routed()) {
        if (criterion == prune_criterion::ean && block->norms_gated()) {
            throw usage_error("this model gates its experts' input, so their norms hold the gate already").in(path)
                .fix("use --criterion reap");
        }
        std::vector<double> & layer = scores.layers[block->layer];
        for (uint32_t e = 0; e < block->n_expert; ++e) {
            layer.push_back(score_of(*block, e, criterion));
        }
    }
    return scores;
}
#else
expert_scores read_moestats_scores(const std::string & path, prune_criterion) {
    throw error("this build has no profiles").in(path).fix("give the expert_stats.json beside it");
}
#endif

}  // namespace

expert_scores load_scores(const std::string & path, prune_criterion criterion) {
    return is_moestats(path) ? read_moestats_scores(path, criterion) : read_expert_scores(path, criterion);
}

}  // namespace moescope::cli
