#include "evaluate/row_score.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <thread>

#include "evaluate/exponentials.hpp"

namespace moescope::evaluate {

namespace {

constexpr size_t chunk = 256;  // elements that are looked at together

// The likeliest tokens, best first; SIZE_MAX and -inf where the vocabulary is smaller.
struct best_tokens {
    std::array<size_t, n_best> ids;
    std::array<float, n_best>  values;

    best_tokens() {
        ids.fill(SIZE_MAX);
        values.fill(-INFINITY);
    }
    void offer(size_t id, float value) {
        if (!(value > values.back()) && ids.back() != SIZE_MAX) {
            return;
        }
        size_t at = n_best - 1;
        for (; at > 0 && (ids[at - 1] == SIZE_MAX || value > values[at - 1]); --at) {
            ids[at]    = ids[at - 1];
            values[at] = values[at - 1];
        }
        ids[at]    = id;
        values[at] = value;
    }
    bool has(size_t id) const { return std::find(ids.begin(), ids.end(), id) != ids.end(); }
};

bool any_above(const float * x, size_t n, float least) {
    int any = 0;
    for (size_t i = 0; i < n; ++i) {
        any |= static_cast<int>(x[i] > least);
    }
    return any != 0;
}

best_tokens best_of(const float * x, size_t n_vocab) {
    best_tokens best;
    for (size_t at = 0; at < n_vocab; at += chunk) {
        const size_t n = std::min(chunk, n_vocab - at);
        if (at > 0 && !any_above(x + at, n, best.values.back())) {
            continue;  // the first chunk holds more than n_best tokens, or all there are
        }
        for (size_t i = at; i < at + n; ++i) {
            best.offer(i, x[i]);
        }
    }
    return best;
}

}  // namespace

row_score compare_rows(const float * full, const float * changed, size_t n_vocab, int32_t target) {
    const best_tokens best_full = best_of(full, n_vocab), best_changed = best_of(changed, n_vocab);
    const float       m_full = best_full.values[0], m_changed = best_changed.values[0];
    const auto [z_full, z_changed, apart] = sum_exponentials({full, m_full}, {changed, m_changed}, n_vocab);
    const auto t                          = static_cast<size_t>(target);
    row_score  s;
    s.nll_full    = std::log(z_full) - (double{full[t]} - double{m_full});
    s.nll_changed = std::log(z_changed) - (double{changed[t]} - double{m_changed});
    s.kl          = apart / z_full + std::log(z_changed) - std::log(z_full);
    s.same_top    = best_full.ids[0] == best_changed.ids[0];
    for (const size_t id : best_full.ids) {
        s.n_top5 += id != SIZE_MAX && best_changed.has(id) ? 1 : 0;
    }
    return s;
}

std::vector<row_score> compare_rows(const std::vector<row_pair> & rows, size_t n_vocab, size_t n_threads) {
    constexpr size_t       worth_a_thread = 1U << 18;  // elements: starting one costs as much as some 10,000
    std::vector<row_score> scores(rows.size());
    const size_t n    = std::max<size_t>(1, std::min({n_threads, rows.size(), rows.size() * n_vocab / worth_a_thread}));
    const auto   work = [&](size_t worker) {
        for (size_t i = worker; i < rows.size(); i += n) {
            scores[i] = compare_rows(rows[i].full, rows[i].changed, n_vocab, rows[i].target);
        }
    };
    std::vector<std::thread> workers;
    for (size_t w = 1; w < n; ++w) {
        workers.emplace_back(work, w);
    }
    work(0);
    for (std::thread & w : workers) {
        w.join();
    }
    return scores;
}

}  // namespace moescope::evaluate
