#pragma once

#include <cstdint>
#include <vector>

#include "core/routing.hpp"
#include "gguf/first_ids.hpp"

namespace moescope::evaluate {

// The selections of the ubatches of a group, as far as two models' are compared: which experts each row went to.
class selection_log final : public routing_sink {
public:
    // Experts are told by these ids from now on. Before the first ubatch.
    void name(gguf::first_ids names) { names_ = std::move(names); }

    void ubatch(const routed_ubatch & u) override;
    void clear() { ubatches_.clear(); }

    struct block {
        block_id              id;
        uint32_t              n_expert = 0, k = 0;
        std::vector<int32_t>  sequence;  // [n_rows] of the token the row belongs to, -1 unknown
        std::vector<uint32_t> ids;       // [n_rows][k]
    };
    using one_ubatch = std::vector<block>;

    const std::vector<one_ubatch> & ubatches() const { return ubatches_; }  // since the last clear()

private:
    void rename(block & b) const;

    gguf::first_ids         names_;
    std::vector<one_ubatch> ubatches_;
};

// Selections of one sequence: all that can be compared, and those that the changed model does not make.
struct displaced_count {
    uint64_t selections = 0, displaced = 0;
};

// Per sequence, of the same batches through two models. Blocks are compared where both have them, with as many rows and as many
// experts (before any pruning); elsewhere ids name other experts.
std::vector<displaced_count> count_displaced(const selection_log & full, const selection_log & changed,
                                             size_t n_sequences);

}  // namespace moescope::evaluate
