#include "analysis/vocabulary.hpp"

#include <algorithm>
#include <tuple>

#include "analysis/tools/running_stats.hpp"

namespace moescope::analysis {

std::vector<int32_t> token_counts::frequent(uint64_t least, size_t most) const {
    std::vector<std::pair<uint64_t, int32_t>> order;
    for (const auto & [token, n] : counts_) {
        if (n >= least) {
            order.emplace_back(n, token);
        }
    }
    std::sort(order.begin(), order.end(),
              [](auto & a, auto & b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
    order.resize(std::min(order.size(), most));
    std::vector<int32_t> tokens;
    for (const auto & [n, token] : order) {
        tokens.push_back(token);
    }
    return tokens;
}

size_t token_routing::top_expert() const {
    size_t top = 0;
    for (size_t e = 1; e < half[0].size(); ++e) {
        top = count(e) > count(top) ? e : top;
    }
    return top;
}

double token_routing::specialization() const {
    double sum = 0;
    for (size_t h = 0; h < 2; ++h) {
        if (half_rows[0] == 0 || half_rows[1] == 0) {
            return unknown;
        }
        const auto leader = static_cast<size_t>(std::max_element(half[h].begin(), half[h].end()) - half[h].begin());
        sum += double(half[1 - h][leader]) / double(half_rows[1 - h]);
    }
    return sum / 2;
}

double block_vocabulary::mean_specialization() const {
    running_stats mean;
    for (const token_routing & t : tokens) {
        if (const double s = t.specialization(); !std::isnan(s)) {
            mean.add(s);
        }
    }
    return mean.mean();
}

double block_vocabulary::blind() const {
    return rows ? double(*std::max_element(count.begin(), count.end())) / double(rows) : unknown;
}

std::vector<token_lift> top_tokens(const block_vocabulary & b, size_t expert, size_t n) {
    std::vector<token_lift> all;
    if (b.count[expert] == 0) {
        return all;
    }
    const double overall = double(b.count[expert]) / double(b.rows);
    for (const token_routing & t : b.tokens) {
        if (t.rows > 0 && t.count(expert) > 0) {
            const interval share = wilson(t.count(expert), t.rows);
            all.push_back(
                {t.token, t.rows, t.frequency(expert) / overall, {share.low / overall, share.high / overall}});
        }
    }
    n = std::min(n, all.size());
    std::partial_sort(all.begin(), all.begin() + static_cast<long>(n), all.end(), [](auto & x, auto & y) {
        return std::tuple(-x.range.low, x.token) < std::tuple(-y.range.low, y.token);
    });
    all.resize(n);
    return all;
}

vocabulary::vocabulary(const std::vector<int32_t> & tokens) : chosen_(tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) {
        index_[tokens[i]] = i;
    }
}

void vocabulary::ubatch(const routed_ubatch & u) {
    chosen_of_token_.clear();
    for (const int32_t token : u.token) {
        const auto it = index_.find(token);
        chosen_of_token_.push_back(it != index_.end() ? static_cast<int64_t>(it->second) : -1);
    }
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        const block_rows & rows = u.blocks[i];
        block_vocabulary & b    = blocks_.at(*rows.layout, i);
        const size_t       k    = rows.layout->n_expert_used;
        if (b.tokens.empty()) {
            b.tokens.resize(chosen_.size());
            for (size_t c = 0; c < chosen_.size(); ++c) {
                b.tokens[c].token   = chosen_[c];
                b.tokens[c].half[0] = b.tokens[c].half[1] = std::vector<uint32_t>(b.layout.n_expert);
            }
        }
        for (uint32_t r = 0; r < rows.n_rows; ++r) {
            const int32_t   t      = rows.token_of(r);
            const int64_t   chosen = t >= 0 ? chosen_of_token_[static_cast<size_t>(t)] : -1;
            token_routing * to     = chosen >= 0 ? &b.tokens[static_cast<size_t>(chosen)] : nullptr;
            const size_t    h      = to != nullptr ? to->rows % 2 : 0;
            b.rows += 1;
            for (size_t j = 0; j < k; ++j) {
                const uint32_t id = rows.id(r * k + j);
                if (id < b.layout.n_expert) {
                    b.count[id] += 1;
                    if (to != nullptr) {
                        to->half[h][id] += 1;
                    }
                }
            }
            if (to != nullptr) {
                to->rows += 1;
                to->half_rows[h] += 1;
            }
        }
    }
}

}  // namespace moescope::analysis
