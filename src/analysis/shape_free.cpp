#include "analysis/shape_free.hpp"

namespace moescope::analysis {

void shape_free::ubatch(const routed_ubatch & u) {
    frequency_.ubatch(u);
    temporal_.ubatch(u);
}

shape_free_result shape_free::result() const {
    const frequency_result f = frequency_.result();
    running_stats          experts, k, entropy, gini, held, overlap, random;
    for (const block_frequency & b : f.blocks) {
        experts.add(b.layout.n_expert);
        k.add(b.layout.n_expert_used);
        if (b.measured.selections > 0) {
            entropy.add(b.measured.entropy);
            gini.add(b.measured.gini);
            held.add(b.measured.coverage[2] / b.layout.n_expert);
        }
    }
    for (const block_temporal & b : temporal_.result().blocks) {
        if (b.overlap[0].n() > 0) {
            overlap.add(b.overlap[0].mean());
            random.add(b.overlap_by_popularity);
        }
    }
    shape_free_result r;
    r.tokens  = double(f.tokens);
    r.blocks  = double(f.blocks.size());
    r.experts = experts.mean();
    r.k       = k.mean();
    r.entropy = entropy.mean();
    r.gini    = gini.mean();
    r.held    = held.mean();
    r.dead    = f.n_experts() > 0 ? double(f.n_dead()) / double(f.n_experts()) : unknown;
    r.overlap = overlap.mean();
    r.random  = random.mean();
    return r;
}

}  // namespace moescope::analysis
