#include "analysis/agreement.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <unordered_map>

#include "analysis/tools/distance.hpp"
#include "analysis/tools/sequences.hpp"
#include "core/error.hpp"
#include "core/memory_limit.hpp"

namespace moescope::analysis {

namespace {

using token_key = std::pair<int64_t, int64_t>;  // sequence, position as if nothing had been shifted

// One token's selections in the compared blocks, as one run made them.
struct routed_token {
    int32_t               token = -1;
    std::vector<uint32_t> ids;       // [Σ k] of all compared blocks, in their order
    std::vector<bool>     computed;  // [blocks]
};

struct compared_block {
    block_layout layout;
    size_t       first = 0;  // of its ids in routed_token::ids
};

// [id of the file] id of the model that was never pruned; null where they are the same.
const std::vector<uint32_t> * original_ids(const gguf::kept_experts & kept, const block_layout & l) {
    const auto it = kept.of_layer.find(l.layer);
    return l.block == 0 && it != kept.of_layer.end() && it->second.size() == l.n_expert ? &it->second : nullptr;
}

graph_layout unpruned(graph_layout blocks, const gguf::kept_experts & kept) {
    for (block_layout & l : blocks) {
        l.n_expert = original_ids(kept, l) != nullptr ? kept.n_expert : l.n_expert;
    }
    return blocks;
}

// The blocks that both have in the same shape.
std::vector<compared_block> common_blocks(const graph_layout & a, const graph_layout & b) {
    std::vector<compared_block> common;
    size_t                      first = 0;
    for (const block_layout & x : a) {
        for (const block_layout & y : b) {
            if (x.id() == y.id() && x.n_expert == y.n_expert && x.n_expert_used == y.n_expert_used) {
                common.push_back({x, first});
                first += x.n_expert_used;
            }
        }
    }
    return common;
}

// One run as a stream of routed tokens.
class run_stream {
public:
    run_stream(trace::trace_source & source, const std::vector<compared_block> & blocks,
               const gguf::kept_experts & kept)
        : source_(source),
          blocks_(blocks),
          kept_(kept) {
        source_.rewind();
    }

    // Reads one ubatch and hands each of its tokens to take(key, token). False at the end.
    template <class Take>
    bool read(Take && take) {
        routed_ubatch u;
        if (!source_.next(u)) {
            return false;
        }
        n_read += u.n_tokens();
        const std::vector<token_place> & places = tracker_.follow(u);
        std::vector<routed_token>        tokens(u.n_tokens());
        const size_t n_ids = blocks_.empty() ? 0 : blocks_.back().first + blocks_.back().layout.n_expert_used;
        for (uint32_t t = 0; t < u.n_tokens(); ++t) {
            tokens[t].token = u.token[t];
            tokens[t].ids.resize(n_ids);
            tokens[t].computed.resize(blocks_.size());
        }
        for (const block_rows & rows : u.blocks) {
            add_rows(rows, tokens);
        }
        for (uint32_t t = 0; t < u.n_tokens(); ++t) {
            if (places[t].sequence < 0) {
                n_unplaced += 1;
            } else {
                take(token_key{places[t].sequence, places[t].at}, std::move(tokens[t]));
            }
        }
        return true;
    }

    uint64_t n_read = 0, n_unplaced = 0;

private:
    void add_rows(const block_rows & rows, std::vector<routed_token> & tokens) const {
        const auto     it = std::find_if(blocks_.begin(), blocks_.end(),
                                         [&](const compared_block & b) { return b.layout.id() == rows.layout->id(); });
        const uint32_t k  = rows.layout->n_expert_used;
        if (it == blocks_.end() || it->layout.n_expert_used != k) {
            return;
        }
        const std::vector<uint32_t> * original = original_ids(kept_, *rows.layout);
        for (uint32_t r = 0; r < rows.n_rows; ++r) {
            const int32_t t = rows.token_of(r);
            if (t < 0 || static_cast<size_t>(t) >= tokens.size()) {
                continue;
            }
            routed_token & to                                      = tokens[static_cast<size_t>(t)];
            to.computed[static_cast<size_t>(it - blocks_.begin())] = true;
            for (uint32_t j = 0; j < k; ++j) {
                const uint32_t id     = rows.id(size_t{r} * k + j);
                to.ids[it->first + j] = original != nullptr && id < original->size() ? (*original)[id] : id;
            }
        }
    }

    trace::trace_source &               source_;
    const std::vector<compared_block> & blocks_;
    const gguf::kept_experts &          kept_;
    sequence_tracker                    tracker_;
};

// The experts of a row, each once, by rising id (GroveMoE's second block repeats).
void sorted_experts(const uint32_t * ids, size_t k, uint32_t n_expert, std::vector<uint32_t> & experts) {
    experts.assign(ids, ids + k);
    std::sort(experts.begin(), experts.end());
    experts.erase(std::unique(experts.begin(), experts.end()), experts.end());
    while (!experts.empty() && experts.back() >= n_expert) {
        experts.pop_back();
    }
}

void compare_block(block_agreement & out, const uint32_t * a, const uint32_t * b, std::vector<uint32_t> (&sets)[2]) {
    const size_t n = out.layout.n_expert, k = out.layout.n_expert_used;
    sorted_experts(a, k, out.layout.n_expert, sets[0]);
    sorted_experts(b, k, out.layout.n_expert, sets[1]);
    size_t shared = 0;
    for (const uint32_t from : sets[0]) {
        out.count_a[from] += 1;
        uint32_t * both = &out.both[from * n];
        for (const uint32_t to : sets[1]) {
            both[to] += 1;
            shared += from == to;
        }
    }
    for (const uint32_t to : sets[1]) {
        out.count_b[to] += 1;
    }
    out.overlap.add(double(shared) / double(std::max({sets[0].size(), sets[1].size(), size_t{1}})));
    out.same_set += sets[0] == sets[1];
    out.same_top += a[0] == b[0];
}

// Waits for partners, and compares tokens that meet theirs.
class matcher {
public:
    matcher(const std::vector<compared_block> & blocks, agreement_result & result) : blocks_(blocks), result_(result) {
        for (const compared_block & b : blocks) {
            block_agreement agreement;
            agreement.layout = b.layout;
            agreement.count_a.resize(b.layout.n_expert);
            agreement.count_b.resize(b.layout.n_expert);
            agreement.both.resize(size_t{b.layout.n_expert} * b.layout.n_expert);
            agreement.overlap_by_chance = double(b.layout.n_expert_used) / double(b.layout.n_expert);
            result_.blocks.push_back(std::move(agreement));
        }
    }

    void take(size_t side, const token_key & key, routed_token && token) {
        auto &     others = waiting_[1 - side];
        const auto it     = others.find(key);
        if (it == others.end()) {
            waiting_[side].emplace(key, std::move(token));
            return;
        }
        meet(key, side == 0 ? token : it->second, side == 0 ? it->second : token);
        others.erase(it);
    }
    size_t n_waiting() const { return waiting_[0].size() + waiting_[1].size(); }
    size_t bytes_waiting() const {
        const size_t n_ids = blocks_.empty() ? 0 : blocks_.back().first + blocks_.back().layout.n_expert_used;
        return n_waiting() *
               (sizeof(token_key) + sizeof(routed_token) + 64 + n_ids * sizeof(uint32_t) + blocks_.size() / 8);
    }

private:
    // Partners meet in the order of the slower run, which is that of positions within a sequence.
    void meet(const token_key & key, const routed_token & a, const routed_token & b) {
        if (differs_.count(key.first) != 0) {
            result_.tokens_after += 1;
            return;
        }
        result_.ids_unknown = result_.ids_unknown || a.token < 0 || b.token < 0;
        if (a.token >= 0 && b.token >= 0 && a.token != b.token) {
            result_.tokens_differ += 1;
            differs_.insert(key.first);
            return;
        }
        result_.tokens_matched += 1;
        for (size_t i = 0; i < blocks_.size(); ++i) {
            if (a.computed[i] && b.computed[i]) {
                compare_block(result_.blocks[i], &a.ids[blocks_[i].first], &b.ids[blocks_[i].first], sets_);
            }
        }
    }

    const std::vector<compared_block> & blocks_;
    agreement_result &                  result_;
    std::map<token_key, routed_token>   waiting_[2];
    std::set<int64_t>                   differs_;  // sequences that have parted
    std::vector<uint32_t>               sets_[2];  // of the row at hand
};

}  // namespace

uint64_t block_agreement::n_shared() const {
    uint64_t n = 0;
    for (size_t e = 0; e < layout.n_expert; ++e) {
        n += both[e * layout.n_expert + e];
    }
    return n;
}

double block_agreement::shared_mean() const {
    return std::accumulate(both.begin(), both.end(), 0.0) / layout.n_expert;
}

double block_agreement::shared_variance() const {
    const size_t        n = layout.n_expert;
    std::vector<double> row(n), column(n);  // means
    for (size_t a = 0; a < n; ++a) {
        for (size_t b = 0; b < n; ++b) {
            row[a] += double(both[a * n + b]) / double(n);
            column[b] += double(both[a * n + b]) / double(n);
        }
    }
    const double all = shared_mean() / double(n);
    double       sum = 0;
    for (size_t a = 0; a < n; ++a) {
        for (size_t b = 0; b < n; ++b) {
            const double centred = double(both[a * n + b]) - row[a] - column[b] + all;
            sum += centred * centred;
        }
    }
    return n > 1 ? sum / double(n - 1) : 0;
}

double agreement_result::relatedness() const {
    double more = 0, variance = 0;
    for (const block_agreement & b : blocks) {
        more += double(b.n_shared()) - b.shared_mean();
        variance += b.shared_variance();
    }
    return variance > 0 ? more / std::sqrt(variance) : unknown;
}

double block_agreement::rank_correlation() const {
    return analysis::rank_correlation(count_a, count_b);
}

double block_agreement::distance() const {
    return jensen_shannon(count_a, count_b);
}

agreement_result measure_agreement(trace::trace_source & a, trace::trace_source & b, const gguf::kept_experts & kept_a,
                                   const gguf::kept_experts & kept_b, size_t max_waiting) {
    agreement_result                  result;
    const std::vector<compared_block> blocks =
        common_blocks(unpruned(a.blocks(), kept_a), unpruned(b.blocks(), kept_b));
    double cells = 0;
    for (const compared_block & c : blocks) {
        cells += double(c.layout.n_expert) * c.layout.n_expert;
    }
    require_memory("a table of all pairs of experts in " + std::to_string(blocks.size()) + " blocks of both runs",
                   cells * sizeof(uint32_t));
    run_stream streams[2] = {{a, blocks, kept_a}, {b, blocks, kept_b}};
    matcher    match(blocks, result);
    bool       more[2] = {true, true};
    while (more[0] || more[1]) {
        const size_t side = !more[1] || (more[0] && streams[0].n_read <= streams[1].n_read) ? 0 : 1;
        more[side] =
            streams[side].read([&](const token_key & key, routed_token && t) { match.take(side, key, std::move(t)); });
        if (match.bytes_waiting() > max_waiting) {
            throw error(
                "the runs compute their sequences in different orders: too many tokens wait for their counterpart")
                .in(b.info().path)
                .fix("record both with one sequence at a time");
        }
    }
    result.tokens_unmatched = match.n_waiting() + streams[0].n_unplaced + streams[1].n_unplaced;
    return result;
}

}  // namespace moescope::analysis
