#pragma once

// Sums from which every criterion of prune follows (docs/prune.md defines them), per MoE block and expert. Sums are doubles
// of single-precision captures; each group of samples is added up on its own before it joins the whole.

#include <cstdint>
#include <string>
#include <vector>

#include "core/routing.hpp"
#include "stats/expert_sums.hpp"

namespace moescope::stats {

// Which gate weight counts: what multiplies the expert output, or the one before normalisation (docs/capture.md, trap 4).
enum class gate_kind { final, raw };

std::string to_string(gate_kind g);  // "final", "raw"

// Which sums: those of gates and norms alone, or all.
enum class sum_set { norms, all };

std::string to_string(sum_set s);  // "norms", "all"

// One block's sums. Arrays are indexed by expert id.
struct saliency_block : block_id, expert_sums {
    uint32_t n_expert = 0, n_expert_used = 0, flags = 0;  // flags: of block_layout
    uint64_t rows = 0;                                    // tokens that the block routed

    std::vector<uint64_t> count;     // rows routed to the expert; sums to n_expert_used * rows
    std::vector<float>    max_norm;  // max ‖f‖
    std::vector<float>    peak;      // the largest absolute element of f; empty where it was not captured

    // [n_pairs(n_expert)] rows that select both experts of a pair, and Σ a_i·a_j over them, a = g·‖f‖. Empty in sum_set::norms.
    std::vector<uint64_t> pair_count;
    std::vector<double>   pair_product;

    // [n_expert] selections that came with a gate weight, and with a norm as well; empty: all of them did.
    std::vector<uint64_t> count_gate, count_norm;

    // The same rows by label: [n_labels] and [n_labels][n_expert]. Empty where the profile has no labels.
    std::vector<uint64_t> label_rows, label_count;
    expert_sums label_sums;  // of [n_labels][n_expert], those that the block itself has; empty in sum_set::norms

    // Llama 4 multiplies an expert's input by the gate, so its norms hold the gate already: then norm and
    // gated_norm are the same sum.
    bool norms_gated() const { return (flags & block_layout::norms_gated) != 0; }

    // Selections that the means are of.
    uint64_t n_gate(uint32_t e) const { return count_gate.empty() ? count[e] : count_gate[e]; }
    uint64_t n_norm(uint32_t e) const { return count_norm.empty() ? count[e] : count_norm[e]; }

    // Means; 0 where the expert was never selected.
    double frequency(uint32_t e) const { return rows == 0 ? 0.0 : double(count[e]) / double(rows); }
    double mean_gate(uint32_t e) const { return n_gate(e) == 0 ? 0.0 : gate[e] / double(n_gate(e)); }
    double ean(uint32_t e) const { return n_norm(e) == 0 ? 0.0 : norm[e] / double(n_norm(e)); }
    double reap(uint32_t e) const { return n_norm(e) == 0 ? 0.0 : gated_norm[e] / double(n_norm(e)); }
};

// What becomes of rows that were captured without norms or gate weights: a profile refuses them, a page shows what a
// trace has. Left out, they count, and the means are of the other rows; a norm without its gate weight is left out, too.
enum class missing_columns { refused, left_out };

// Adds up captured ubatches (ids, norms, and the weights that `gate` asks for). As a sink it throws error when one of
// these columns is missing and may not be; a second block of a layer (GroveMoE) always may, and then counts alone.
class saliency final : public routing_sink {
public:
    explicit saliency(gate_kind gate = gate_kind::final, uint32_t n_labels = 0,
                      missing_columns missing = missing_columns::refused, sum_set which = sum_set::norms)
        : gate_(gate),
          n_labels_(n_labels),
          missing_(missing),
          which_(which) {}

    void ubatch(const routed_ubatch & u) override;

    // The label (index below n_labels) of each sequence in the ubatches that follow.
    void set_sequence_labels(std::vector<uint32_t> label_of_sequence) {
        label_of_sequence_ = std::move(label_of_sequence);
    }

    // Adds blocks of the same model, matched by (layer, block), whose columns are all there. Throws error when the shapes
    // differ.
    void add(const std::vector<saliency_block> & blocks);
    void clear();  // zeroes the sums, keeps the blocks

    const std::vector<saliency_block> & blocks() const { return blocks_; }  // by layer, then block
    uint64_t                            tokens() const { return tokens_; }  // of all ubatches since the last clear

private:
    saliency_block & block_of(const block_layout & l, size_t hint);
    void             add_rows(saliency_block & b, const block_rows & rows, const routed_ubatch & u);
    int64_t          label_of(const block_rows & rows, uint32_t row, const routed_ubatch & u) const;
    void             add_labels(saliency_block & b, const block_rows & rows, const routed_ubatch & u);
    void             add_scores(saliency_block & b, const block_rows & rows, const routed_ubatch & u);

    gate_kind                   gate_;
    uint32_t                    n_labels_;
    missing_columns             missing_;
    sum_set                     which_;
    std::vector<uint32_t>       label_of_sequence_;
    std::vector<saliency_block> blocks_;
    uint64_t                    tokens_ = 0;
};

}  // namespace moescope::stats
