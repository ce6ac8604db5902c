#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "analysis/tools/running_stats.hpp"
#include "analysis/tools/sequences.hpp"
#include "core/block_table.hpp"
#include "core/routing.hpp"

namespace moescope::analysis {

inline constexpr std::array<uint32_t, 8> overlap_lags = {1, 2, 4, 8, 16, 32, 64, 128};  // tokens
// Reuse distances in tokens: 1, 2, 3–4, 5–8, …, more than 128; the last counts first uses in a sequence.
inline constexpr size_t                                    n_reuse_classes = 10;
inline constexpr std::array<uint32_t, n_reuse_classes - 2> reuse_class_end = {1, 2, 4, 8, 16, 32, 64, 128};

struct block_temporal {
    block_layout                                   layout;
    uint64_t                                       rows = 0;  // whose sequence is known
    std::array<running_stats, overlap_lags.size()> overlap;   // |A ∩ B| / k of tokens that far apart
    double overlap_by_popularity = unknown;  // of two different tokens of the trace: Σ c_e (c_e − 1) / (k N (N − 1))
    double                                  overlap_by_chance = unknown;  // of balanced random routing: k / E
    std::array<uint64_t, n_reuse_classes>   reuse = {};  // selections by distance to the last use in the sequence
    std::array<double, n_reuse_classes - 1> reuse_by_chance = {};  // shares of reuses under balance (geometric, k / E)
};

struct temporal_result {
    std::vector<block_temporal> blocks;
    uint64_t                    sequences    = 0;
    uint64_t                    rows_unknown = 0;  // whose position in a sequence is not known
};

// How long a sequence stays with its experts. Neighbours are tokens of one sequence, never of one batch.
// Memory: 24 n_expert bytes for each sequence id and block.
class temporal final : public routing_sink {
public:
    void            ubatch(const routed_ubatch & u) override;
    temporal_result result() const;

private:
    struct block {
        explicit block(const block_layout & l) : layout(l), count(l.n_expert) {}
        block_layout                                   layout;
        uint64_t                                       rows = 0;
        std::vector<uint64_t>                          count;
        std::array<running_stats, overlap_lags.size()> overlap;
        std::array<uint64_t, n_reuse_classes>          reuse = {};
    };
    // When the run at hand used one expert.
    struct uses {
        uint32_t                last   = 0;   // 1 + row number of the last use; 0: none
        std::array<uint64_t, 2> before = {};  // bit i: also i rows before that, i < 128

        bool at(uint32_t row) const {  // whether the row of this number (from 1, at most 128 before `last`) did
            return row <= last && ((before[(last - row) / 64] >> ((last - row) % 64)) & 1) != 0;
        }
        void add(uint32_t row);  // later than `last`
    };
    struct history {  // of one sequence id in one block
        int64_t           sequence = -1;
        int64_t           at       = -1;  // where the last row stood (token_place)
        uint32_t          n        = 0;   // rows of the unbroken run so far
        std::vector<uses> of;             // [n_expert]
    };
    void add_row(block & b, history & h, const block_rows & rows, uint32_t r, const token_place & place);

    sequence_tracker                              tracker_;
    block_table<block>                            blocks_;
    std::map<std::pair<size_t, int32_t>, history> histories_;  // by block and sequence id
    uint64_t                                      rows_unknown_ = 0;
};

}  // namespace moescope::analysis
