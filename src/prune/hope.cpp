#include "prune/hope.hpp"

#include <algorithm>
#include <limits>

#include "stats/expert_sums.hpp"

namespace moescope::prune {

namespace {

// Experts that share a chunk expert, as one; Q of units is that of their experts.
class unit_choice {
public:
    unit_choice(const hope_objective & q, const gguf::moe_shape & shape, const std::vector<bool> & is_protected)
        : size_(std::max(1u, shape.experts_per_chunk)),
          n_(q.n_expert() / size_),
          per_group_(n_ / std::max(1u, shape.n_expert_groups)),
          f_(n_ * n_),
          gone_(n_),
          fixed_(n_),
          weight_(n_) {
        for (size_t i = 0; i < n_ * size_; ++i) {
            fixed_[i / size_] = fixed_[i / size_] || is_protected[i];
            for (size_t j = 0; j < n_ * size_; ++j) {
                f_[i / size_ * n_ + j / size_] += q.pair(i, j);
            }
        }
    }

    // Takes out one unit after another, each group's share of them.
    void remove_greedily(size_t n_gone) {
        const size_t        n_groups = n_ / per_group_;
        std::vector<size_t> left(n_groups, n_gone / n_groups);
        for (size_t step = 0; step < n_gone; ++step) {
            size_t best = n_;
            for (size_t i = 0; i < n_; ++i) {
                if (!gone_[i] && !fixed_[i] && left[i / per_group_] > 0 && (best == n_ || cost(i) < cost(best))) {
                    best = i;
                }
            }
            if (best == n_) {
                return;  // more is protected than can stay: choose_experts says so
            }
            left[best / per_group_] -= 1;
            move(best, true);
        }
    }

    void swap_while_better() {
        constexpr int most_rounds = 1000;
        for (int round = 0; round < most_rounds && swap_best(); ++round) {
        }
    }

    std::vector<double> scores() const {
        std::vector<double> s(n_ * size_);
        for (size_t i = 0; i < s.size(); ++i) {
            s[i] = gone_[i / size_] ? 0 : 1;
        }
        return s;
    }

private:
    double at(size_t i, size_t j) const { return f_[i * n_ + j]; }
    // By how much Q grows if i goes, too. weight_[i]: Σ F_ij over what is gone.
    double cost(size_t i) const { return at(i, i) + 2 * weight_[i]; }

    void move(size_t i, bool out) {
        gone_[i] = out;
        for (size_t j = 0; j < n_; ++j) {
            weight_[j] += out ? at(i, j) : -at(i, j);
        }
    }

    // Exchanges the pair that makes Q smallest; false where none makes it smaller.
    bool swap_best() {
        double best = -1e-12;
        size_t in = n_, out = n_;
        for (size_t i = 0; i < n_; ++i) {
            for (size_t j = 0; gone_[i] && j < n_; ++j) {
                if (gone_[j] || fixed_[j] || i / per_group_ != j / per_group_) {
                    continue;
                }
                const double back  = -at(i, i) - 2 * (weight_[i] - at(i, i));
                const double forth = at(j, j) + 2 * (weight_[j] - at(i, j));
                const double scale =
                    std::abs(at(i, i)) + std::abs(at(j, j)) + std::abs(weight_[i]) + std::abs(weight_[j]);
                if (back + forth < best && back + forth < -1e-12 * scale) {
                    best = back + forth, in = i, out = j;
                }
            }
        }
        if (in == n_) {
            return false;
        }
        move(in, false);
        move(out, true);
        return true;
    }

    size_t              size_, n_, per_group_;
    std::vector<double> f_;
    std::vector<bool>   gone_, fixed_;
    std::vector<double> weight_;
};

}  // namespace

hope_objective::hope_objective(const stats::saliency_block & b) : n_(b.n_expert), f_(size_t(n_) * n_) {
    for (size_t i = 0; i < n_; ++i) {
        f_[i * n_ + i] = b.count[i] > 0 ? b.gated_squared[i] / double(b.count[i]) : 0;
        for (size_t j = 0; j < i; ++j) {
            const size_t pair = stats::pair_index(i, j, n_);
            const double mean = b.pair_count[pair] > 0 ? b.pair_product[pair] / double(b.pair_count[pair]) : 0;
            f_[i * n_ + j] = f_[j * n_ + i] = mean;
        }
    }
}

double hope_objective::of_plan(const std::vector<int32_t> & kept) const {
    std::vector<bool> gone(n_, true);
    for (const int32_t id : kept) {
        gone[static_cast<size_t>(id)] = false;
    }
    double q = 0;
    for (size_t i = 0; i < n_; ++i) {
        for (size_t j = 0; gone[i] && j < n_; ++j) {
            q += gone[j] ? pair(i, j) : 0;
        }
    }
    return q;
}

std::vector<double> solve_hope(const hope_objective & objective, const gguf::moe_shape & shape, uint32_t n_keep,
                               const std::vector<bool> & is_protected) {
    unit_choice choice(objective, shape, is_protected);
    choice.remove_greedily((objective.n_expert() - n_keep) / std::max(1u, shape.experts_per_chunk));
    choice.swap_while_better();
    return choice.scores();
}

}  // namespace moescope::prune
