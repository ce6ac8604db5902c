#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "analysis/cache.hpp"
#include "analysis/coactivation.hpp"
#include "analysis/tools/foreseen_router.hpp"
#include "analysis/tools/sequences.hpp"

namespace moescope::analysis {

// From what the experts of a layer are foreseen. Each gives a list, the likeliest first.
enum class foresight : uint8_t {
    previous,  // what the sequence used last in this layer, the most recent token first, each in the order of its row
    hot,       // what the other half of the trace read most in this layer
    coactivated,  // by the sum over the experts a of the layer before of N(a, e) / N(a), counted in the other half
    router,       // this layer's router, applied to the gate input of the layer before
    router2,      // the same with the input of the layer before that
    together,     // in turn: router, coactivated, previous
};
inline constexpr size_t n_foresights = 6;
const char *            to_string(foresight f);  // "previous token", "hot list", "co-activated", "router", …
std::vector<foresight>  all_foresights();

// Pairs of neighbouring blocks, and how a model's router selects: what is learned of each half of a trace.
class foresight_lessons final : public routing_sink {
public:
    // half_at: ubatches that select anything in the first half. router: may be empty; learns from the first rows.
    foresight_lessons(uint64_t half_at, foreseen_router & router) : half_at_(half_at), router_(router) {}

    void ubatch(const routed_ubatch & u) override;
    void finish();  // after the last ubatch

    // Of the block and the one that the graph computed next, in that half; null: never seen.
    const pair_counts * between(size_t half, const block_layout & from, const block_layout & to, size_t hint) const;

private:
    void learn_router(const block_rows & rows);

    static constexpr uint64_t most_rows = 4096;  // that the router learns from

    uint64_t                 half_at_, ubatches_ = 0;
    foreseen_router &        router_;
    coactivation             pairs_[2];
    std::vector<pair_counts> counted_[2];
    std::vector<uint32_t>    ids_;
};

// The lists, ubatch by ubatch.
class forecaster {
public:
    static constexpr uint32_t reach = 3;  // a list has at most so many times k experts

    // All must outlive this. router: empty where there is no model, or none whose inputs the trace has.
    forecaster(const cache_counts & counted, const foresight_lessons & lessons, foreseen_router & router);

    void start_half(size_t half);  // what is learned is taken from the other one
    void ubatch(const routed_ubatch & u, const std::vector<token_place> & places);

    // Of a row of the ubatch's block; empty: nothing foreseen. The view lives until the next ubatch.
    const std::vector<uint32_t> & list(foresight f, size_t block, uint32_t row) const {
        return lists_[static_cast<size_t>(f)][block][row];
    }
    // What the layer's router selects of the row's own input: the row's ids, where the router is understood. Empty: no input.
    const std::vector<uint32_t> & own(size_t block, uint32_t row) const { return own_[block][row]; }

private:
    struct history {
        int64_t               sequence = -1;
        std::vector<uint32_t> recent;
    };
    using block_lists = std::vector<std::vector<uint32_t>>;  // [row]

    void forecast_block(const routed_ubatch & u, size_t block, const std::vector<token_place> & places);
    void follow_sequence(const routed_ubatch & u, size_t block, uint32_t row, const token_place & place);
    void from_neighbour(const routed_ubatch & u, size_t block, uint32_t row);
    void from_router(const routed_ubatch & u, size_t block, uint32_t row);
    void mix(size_t block, uint32_t row);
    std::vector<uint32_t> & slot(foresight f, size_t block, uint32_t row) {
        return lists_[static_cast<size_t>(f)][block][row];
    }
    const float * input_of(const block_rows & rows, int64_t row) const;
    int64_t       row_in(const routed_ubatch & u, size_t block, int32_t token) const;

    const cache_counts &                               counted_;
    const foresight_lessons &                          lessons_;
    foreseen_router &                                  router_;
    size_t                                             half_ = 0;
    block_table<cache_counts::block>                   blocks_;     // maps layouts to the numbers of `counted_`
    std::vector<std::vector<uint32_t>>                 hot_;        // [block]
    std::map<std::pair<size_t, int32_t>, history>      histories_;  // by block and sequence id
    std::array<std::vector<block_lists>, n_foresights> lists_;
    std::vector<block_lists>                           own_;
    std::vector<std::vector<int64_t>>                  row_of_token_;  // [block][token]
    std::vector<double>                                scores_;
};

// The experts that a row selects, each once, in the order of the row; ids that are no experts are left out.
void distinct_ids(const block_rows & rows, uint32_t row, std::vector<uint32_t> & ids);

}  // namespace moescope::analysis
