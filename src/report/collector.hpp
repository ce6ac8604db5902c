#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/cache.hpp"
#include "analysis/coactivation.hpp"
#include "analysis/frequency.hpp"
#include "analysis/specialization.hpp"
#include "core/block_table.hpp"
#include "core/expert_counts.hpp"
#include "report/page_data.hpp"
#include "stats/saliency.hpp"
#include "trace/requests.hpp"

namespace moescope::report {

// Adds up one run for the page, ubatch by ubatch, so that a live view can go on where it stopped: the accumulators of
// `analyze` and `profile`, side by side. Memory depends on the model's shape, never on the length of the trace.
class run_collector final : public routing_sink {
public:
    // max_pair_cells: pairs of experts over all blocks to keep co-selections of; runs with more keep none.
    explicit run_collector(uint64_t max_pair_cells) : max_pair_cells_(max_pair_cells) {}

    // The source's notes, which label its prompts: before the ubatches that they are about.
    void notes(const std::vector<std::string> & all);
    void ubatch(const routed_ubatch & u) override;
    // Instead of rows, where the source holds only counts.
    void set_counts(const expert_counts & counts);

    uint64_t tokens() const { return counts_ ? counts_->tokens : frequency_.tokens(); }
    uint64_t ubatches() const { return counts_ ? counts_->ubatches : frequency_.ubatches(); }
    uint64_t accesses() const { return accesses_.accesses(); }  // of slices, over all blocks

    // By layer and block, with the columns of all graphs.
    graph_layout blocks() const;
    // Fills blocks, cells, domains and totals; the rest is the caller's.
    page_run     result() const;
    page_pairs   pairs() const;
    page_prompts prompts() const;
    // The co-selections of one block (upper triangle); empty where they are not kept.
    std::vector<uint64_t> pairs_of(const block_id & block) const;

private:
    void meet(const block_layout & l, size_t hint);
    bool pairs_fit() const;
    void follow_requests(const routed_ubatch & u);
    void add_means(page_cells & cells) const;
    void add_domains(page_run & run) const;

    std::vector<uint64_t> accesses_of(const block_layout & l) const;

    uint64_t                              max_pair_cells_;
    block_table<block_layout>             blocks_;
    std::vector<uint64_t>                 access_uses_;  // ubatches by routed_ubatch::access
    analysis::frequency                   frequency_{analysis::router_probs::passed_by};
    stats::saliency                       saliency_{stats::gate_kind::final, 0, stats::missing_columns::left_out};
    analysis::cache_counts                accesses_;
    std::optional<analysis::pairs_within> pairs_{analysis::repeats::each};  // none: too many
    bool                                  labelled_ = false;
    page_prompts                          prompts_;  // first and labels; the rest is in requests_
    trace::request_finder                 requests_;
    uint64_t                              seen_ = 0;  // tokens
    analysis::specialization              domains_;   // by the labels of the prompts, where there are any
    std::optional<expert_counts>          counts_;    // instead of all these
};

}  // namespace moescope::report
