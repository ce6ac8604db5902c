#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "analysis/tools/interval.hpp"
#include "core/block_table.hpp"
#include "core/routing.hpp"

namespace moescope::analysis {

// How often each token id was computed: the first of two passes. Ids that are not known (-1) are not counted.
class token_counts final : public routing_sink {
public:
    void ubatch(const routed_ubatch & u) override {
        for (const int32_t t : u.token) {
            if (t >= 0) {
                counts_[t] += 1;
            }
        }
    }
    uint64_t n_tokens() const { return counts_.size(); }  // different ones
    // The ids that occur at least `least` times, most frequent first, at most `most` of them.
    std::vector<int32_t> frequent(uint64_t least, size_t most) const;

private:
    std::unordered_map<int32_t, uint64_t> counts_;
};

// One token id in one block.
struct token_routing {
    int32_t                              token     = -1;
    uint64_t                             rows      = 0;
    std::array<uint64_t, 2>              half_rows = {};
    std::array<std::vector<uint32_t>, 2> half;  // [n_expert] selections, over every other occurrence

    uint64_t count(size_t e) const { return uint64_t{half[0][e]} + half[1][e]; }
    double   frequency(size_t e) const { return rows ? double(count(e)) / double(rows) : unknown; }
    // How often the expert that leads in one half of the occurrences is selected in the other (mean of both ways): unlike
    // the largest frequency itself, chance does not inflate it. Unknown for fewer than two rows.
    double specialization() const;
    size_t top_expert() const;
};

struct block_vocabulary {
    explicit block_vocabulary(const block_layout & l) : layout(l), count(l.n_expert) {}

    block_layout               layout;
    uint64_t                   rows = 0;  // all rows of the block, also of other tokens
    std::vector<uint64_t>      count;     // [n_expert] over all rows
    std::vector<token_routing> tokens;    // the chosen ones

    // Mean of specialization() over the tokens, and what knowing no token gives: the frequency of the busiest expert.
    double mean_specialization() const;
    double blind() const;
};

// The token ids that an expert serves more than others: lift = frequency of e for the token / frequency of e over all rows.
struct token_lift {
    int32_t  token = -1;
    uint64_t rows  = 0;
    double   lift  = 0;
    interval range;  // 95 %, of the token's frequency
};
std::vector<token_lift> top_tokens(const block_vocabulary & b, size_t expert, size_t n);  // by the interval's lower end

// The second pass: selections of the chosen token ids. Memory: bytes_per_token for each of them and each block.
class vocabulary final : public routing_sink {
public:
    explicit vocabulary(const std::vector<int32_t> & tokens);

    static uint64_t bytes_per_token(uint32_t n_expert) { return sizeof(token_routing) + 2 * (4ull * n_expert + 16); }

    void ubatch(const routed_ubatch & u) override;
    // By layer and block; they live in this object.
    std::vector<const block_vocabulary *> result() const { return blocks_.sorted(); }

private:
    std::vector<int32_t>                chosen_;
    std::unordered_map<int32_t, size_t> index_;
    std::vector<int64_t>                chosen_of_token_;  // of the ubatch at hand: index into chosen_, -1: not chosen
    block_table<block_vocabulary>       blocks_;
};

}  // namespace moescope::analysis
