#include "reorder/expert_order.hpp"

#include <algorithm>
#include <map>
#include <numeric>

namespace moescope::reorder {

namespace {

constexpr int32_t nobody     = -1;
constexpr int     most_turns = 50;  // of 2-opt; each ends when nothing helps, far earlier

using path = std::vector<int32_t>;

class path_builder {
public:
    path_builder(const analysis::pair_counts & pairs, const path & members) : pairs_(pairs), members_(members) {}

    path build() {
        join();
        walk();
        while (turns_ < most_turns && reverse_what_helps()) {
            turns_ += 1;
        }
        return lay_by_heat();
    }

private:
    uint64_t bond(int32_t a, int32_t b) const {
        return a == nobody || b == nobody ? 0 : pairs_.n_both(static_cast<uint32_t>(a), static_cast<uint32_t>(b));
    }
    uint64_t heat(int32_t e) const { return pairs_.count_from[static_cast<size_t>(e)]; }

    size_t root(size_t i) {
        while (parent_[i] != i) {
            i = parent_[i] = parent_[parent_[i]];
        }
        return i;
    }

    // Neighbours on each side, the strongest bonds first, as long as no expert gets a third one and no ring closes.
    void join() {
        struct edge {
            uint64_t bond;
            size_t   a, b;
        };
        std::vector<edge> edges;
        for (size_t i = 0; i < members_.size(); ++i) {
            for (size_t j = i + 1; j < members_.size(); ++j) {
                edges.push_back({bond(members_[i], members_[j]), i, j});
            }
        }
        std::stable_sort(edges.begin(), edges.end(), [](const edge & x, const edge & y) { return x.bond > y.bond; });
        parent_.resize(members_.size());
        std::iota(parent_.begin(), parent_.end(), size_t{0});
        sides_.assign(members_.size(), {});
        for (const edge & e : edges) {
            if (sides_[e.a].size() < 2 && sides_[e.b].size() < 2 && root(e.a) != root(e.b)) {
                parent_[root(e.a)] = root(e.b);
                sides_[e.a].push_back(e.b);
                sides_[e.b].push_back(e.a);
            }
        }
    }

    void walk() {
        const auto end = std::find_if(sides_.begin(), sides_.end(), [](const auto & s) { return s.size() < 2; });
        size_t     at = static_cast<size_t>(end - sides_.begin()), before = SIZE_MAX;
        for (size_t n = 0; n < members_.size(); ++n) {
            path_.push_back(members_[at]);
            const auto next =
                std::find_if(sides_[at].begin(), sides_[at].end(), [&](size_t side) { return side != before; });
            before = at;
            at     = next == sides_[at].end() ? at : *next;
        }
    }

    int32_t at(size_t i) const { return i < path_.size() ? path_[i] : nobody; }

    bool reverse_what_helps() {
        bool helped = false;
        for (size_t i = 0; i + 1 < path_.size(); ++i) {
            for (size_t j = i + 1; j < path_.size(); ++j) {
                const int32_t  before = i == 0 ? nobody : path_[i - 1], after = at(j + 1);
                const uint64_t now  = bond(before, path_[i]) + bond(path_[j], after);
                const uint64_t then = bond(before, path_[j]) + bond(path_[i], after);
                if (then > now) {
                    std::reverse(path_.begin() + static_cast<long>(i), path_.begin() + static_cast<long>(j) + 1);
                    helped = true;
                }
            }
        }
        return helped;
    }

    bool meet_by_chance(int32_t a, int32_t b) const {
        const double by_chance =
            pairs_.lift_by_chance() * double(heat(a)) * double(heat(b)) / std::max(1.0, double(pairs_.rows));
        return double(bond(a, b)) <= by_chance;
    }

    double mean_heat(const path & p) const {
        double sum = 0;
        for (const int32_t e : p) {
            sum += double(heat(e));
        }
        return sum / double(p.size());
    }

    path lay_by_heat() const {
        std::vector<path> pieces(1);
        for (size_t i = 0; i < path_.size(); ++i) {
            if (i > 0 && meet_by_chance(path_[i - 1], path_[i])) {
                pieces.emplace_back();
            }
            pieces.back().push_back(path_[i]);
        }
        std::stable_sort(pieces.begin(), pieces.end(),
                         [this](const path & x, const path & y) { return mean_heat(x) > mean_heat(y); });
        path laid;
        for (path & p : pieces) {
            const int32_t  last  = laid.empty() ? nobody : laid.back();
            const uint64_t as_is = bond(last, p.front()), turned = bond(last, p.back());
            const bool     hotter = heat(p.back()) > heat(p.front());
            if (turned > as_is || (turned == as_is && hotter)) {
                std::reverse(p.begin(), p.end());
            }
            laid.insert(laid.end(), p.begin(), p.end());
        }
        return laid;
    }

    const analysis::pair_counts &    pairs_;
    const path &                     members_;
    std::vector<size_t>              parent_;
    std::vector<std::vector<size_t>> sides_;
    path                             path_;
    int                              turns_ = 0;
};

}  // namespace

std::vector<uint32_t> interchangeable_places(const gguf::moe_shape & shape) {
    const uint32_t        n = shape.n_expert, chunk = shape.experts_per_chunk;
    std::vector<uint32_t> cells(n, 0);
    for (uint32_t e = 0; e < n; ++e) {
        if (chunk > 1) {
            cells[e] = e < n / chunk ? n + e : e / chunk;
        } else if (shape.n_expert_groups > 1) {
            cells[e] = e / std::max(1u, n / shape.n_expert_groups);
        }
    }
    return cells;
}

std::vector<int32_t> order_by_coactivation(const analysis::pair_counts & pairs, const std::vector<uint32_t> & cells) {
    std::map<uint32_t, path> members;
    for (size_t e = 0; e < cells.size(); ++e) {
        members[cells[e]].push_back(static_cast<int32_t>(e));
    }
    path order(cells.size());
    for (const auto & [cell, places] : members) {
        const path laid = path_builder(pairs, places).build();
        for (size_t i = 0; i < places.size(); ++i) {
            order[static_cast<size_t>(places[i])] = laid[i];
        }
    }
    return order;
}

}  // namespace moescope::reorder
