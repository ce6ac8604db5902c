#pragma once

#include <cstdint>
#include <vector>

#include "analysis/tools/interval.hpp"
#include "core/block_table.hpp"
#include "core/routing.hpp"

namespace moescope::analysis {

// How often experts of one block, or of two neighbouring blocks, serve the same token.
struct pair_counts {
    pair_counts(const block_layout & a, const block_layout & b);
    explicit pair_counts(const block_layout & l) : pair_counts(l, l) {}

    block_layout          from, to;    // the same block twice: pairs within a row
    uint64_t              rows = 0;    // rows that both blocks computed
    std::vector<uint64_t> count_from;  // [from.n_expert] N(a), over these rows
    std::vector<uint64_t> count_to;    // [to.n_expert]   N(b)
    std::vector<uint32_t> both;  // [from.n_expert][to.n_expert] N(a, b); symmetric within a block, 0 on its diagonal

    bool     within() const { return from.id() == to.id(); }
    uint32_t n_both(uint32_t a, uint32_t b) const { return both[size_t{a} * to.n_expert + b]; }
    double   conditional(uint32_t a, uint32_t b) const;    // N(a, b) / N(a)
    double   lift(uint32_t a, uint32_t b) const;           // conditional / (N(b) / rows)
    interval lift_interval(uint32_t a, uint32_t b) const;  // 95 %, of the conditional share; N(b) / rows taken as known
    // The lift of two experts that random routing of rows shows: 1 between blocks; E (k − 1) / (k (E − 1)) within one,
    // since a row's k ids are distinct and so exclude each other.
    double lift_by_chance() const;
};

struct expert_pair {
    uint32_t a = 0, b = 0;
    double   lift = 0;
    interval range;
};
// Pairs seen together less often say nothing: every pair of rare experts that met once would lead.
inline constexpr uint32_t least_together = 5;
// The pairs whose lift is surely highest: by the lower end of the interval, of those seen least_together times. a < b
// within a block.
std::vector<expert_pair> top_pairs(const pair_counts & p, size_t n);

// What an expert counts that a row selects twice (in GroveMoE's second block): once, or as often as it is selected.
enum class repeats { once, each };

// Pairs within the rows of each block. Memory: 4 n_expert² bytes for each, twice while result() lives.
class pairs_within final : public routing_sink {
public:
    explicit pairs_within(repeats count = repeats::once) : count_(count) {}

    void ubatch(const routed_ubatch & u) override;

    std::vector<pair_counts> result() const;  // by layer and block
    // N(a, b) of a block's pairs a < b: (0,1), (0,2), …, (1,2), …. Empty where the block was not seen.
    std::vector<uint64_t> triangle(const block_id & block) const;

private:
    void add_rows(pair_counts & p, const block_rows & rows);

    repeats                  count_;
    block_table<pair_counts> blocks_;   // N(a, b) lies in the cells (a, b) and (b, a) together
    std::vector<uint32_t>    experts_;  // of the row at hand
};

struct coactivation_result {
    std::vector<pair_counts> within;   // by layer and block
    std::vector<pair_counts> between;  // each block and the one that the graph computed next
};

// Pairs within rows and between neighbouring blocks. Memory: 4 n_expert² bytes for each block and each pair of
// neighbours, twice while result() lives.
// Throws error where the pairs of these blocks' experts would take too much memory (core/memory_limit.hpp).
void require_memory_for_pairs(const graph_layout & blocks);

class coactivation final : public routing_sink {
public:
    void                ubatch(const routed_ubatch & u) override;
    coactivation_result result() const;

private:
    void add_between(pair_counts & p, const routed_ubatch & u, const block_rows & a, const block_rows & b);

    pairs_within             within_;
    std::vector<pair_counts> between_;  // in order of appearance
    std::vector<int64_t>     row_of_token_;
    std::vector<uint32_t>    experts_, next_experts_;  // of the rows at hand
};

}  // namespace moescope::analysis
