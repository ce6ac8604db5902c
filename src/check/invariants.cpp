#include "check/invariants.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "logs/row_text.hpp"

namespace moescope::check {

namespace {

// Weights of a normalised row add up to weight_sum within this share of it: a sum of k floats, or of k halves, whose
// rounding is at most 2^-11 each.
constexpr double sum_tolerance = 1e-3;

// llama.cpp divides by at least this much: below it, normalised weights add up to less.
constexpr double smallest_divisor = 6.103515625e-5;

// Of all tests of a trace together, this often chance alone is called a misread.
constexpr double misread_log10_alpha = -6;

std::string fixed(double v) {
    std::string s;
    logs::append_fixed(s, v, 6);
    return s;
}

std::string count_of(uint64_t n, const char * one, const char * many) {
    return std::to_string(n) + " " + (n == 1 ? one : many);
}

}  // namespace

void invariant_check::report(const char * name, const place & at, const std::string & what) {
    const auto [it, is_new] = findings_.try_emplace({at.b.layout->id(), name});
    finding & f             = it->second;
    if (!is_new) {
        f.count += 1;
        return;
    }
    f.name   = name;
    f.what   = what;
    f.layer  = at.b.layout->layer;
    f.block  = at.b.layout->block;
    f.ubatch = static_cast<int64_t>(at.ubatch);
    f.row    = at.row;
}

void invariant_check::add(const routed_ubatch & u) {
    for (const block_rows & b : u.blocks) {
        for (uint32_t r = 0; r < b.n_rows; ++r) {
            check_row({b, result_.ubatches, r});
        }
        check_values(b, result_.ubatches);
        misread_[b.layout->id()].add(b);
        result_.rows += b.n_rows;
    }
    result_.ubatches += 1;
    result_.tokens += u.n_tokens();
}

void invariant_check::check_row(const place & at) {
    check_ids(at);
    check_weights(at);
    check_topk(at);
}

void invariant_check::check_ids(const place & at) {
    const block_layout & l = *at.b.layout;
    const size_t         k = l.n_expert_used;
    seen_.resize(std::max<size_t>(seen_.size(), l.n_expert));
    stamp_ += 1;
    result_.rows_distinct += !l.has(block_layout::ids_repeat);
    for (size_t i = 0; i < k; ++i) {
        const uint32_t id = at.b.id(at.row * k + i);
        if (id >= l.n_expert) {
            report("ids-range", at, "expert " + std::to_string(id) + " of " + std::to_string(l.n_expert));
            continue;
        }
        if (seen_[id] == stamp_ && !l.has(block_layout::ids_repeat)) {
            report("ids-distinct", at, "expert " + std::to_string(id) + " is selected twice in one row");
        }
        seen_[id] = stamp_;
    }
}

void invariant_check::check_weights(const place & at) {
    const block_layout & l       = *at.b.layout;
    const size_t         k       = l.n_expert_used;
    const float *        weights = at.b.values_of(column::weights);
    if (weights == nullptr || l.weight_sum == 0) {
        return;
    }
    const double sum = std::accumulate(weights + at.row * k, weights + (at.row + 1) * k, 0.0);
    if (!std::isfinite(sum)) {
        return;  // check_values names it
    }
    result_.rows_summed += 1;
    if (std::abs(sum - l.weight_sum) <= sum_tolerance * std::abs(l.weight_sum)) {
        return;
    }
    if (const float * raw = at.b.values_of(column::weights_raw)) {
        const double divisor = std::accumulate(raw + at.row * k, raw + (at.row + 1) * k, 0.0);
        if (divisor < smallest_divisor && sum < l.weight_sum) {
            return;
        }
    }
    report("weights-sum", at, "weights add up to " + fixed(sum) + " instead of " + fixed(l.weight_sum));
}

void invariant_check::check_topk(const place & at) {
    const block_layout & l      = *at.b.layout;
    const float *        scores = at.b.values_of(column::selection);
    if (scores == nullptr || l.has(block_layout::given_ids) || l.has(block_layout::ids_repeat)) {
        return;
    }
    scores += size_t(at.row) * l.n_expert;
    result_.rows_topk += 1;

    // check_ids stamped the selected ones.
    float    worst_selected = INFINITY, best_other = -INFINITY;
    uint32_t worst_id = 0, best_id = 0;
    for (uint32_t e = 0; e < l.n_expert; ++e) {
        const bool selected = seen_[e] == stamp_;
        if (selected && scores[e] < worst_selected) {
            worst_selected = scores[e];
            worst_id       = e;
        } else if (!selected && scores[e] > best_other) {
            best_other = scores[e];
            best_id    = e;
        }
    }
    if (best_other > worst_selected) {  // equal scores may be ordered either way
        report("ids-topk", at,
               "expert " + std::to_string(worst_id) + " (score " + fixed(worst_selected) + ") is selected, expert " +
                   std::to_string(best_id) + " (" + fixed(best_other) + ") is not");
    }
}

void invariant_check::check_values(const block_rows & b, uint64_t ubatch) {
    for (const column column : float_columns) {
        const float * values = b.values_of(column);
        if (values == nullptr) {
            continue;
        }
        const size_t width = b.layout->width(column);
        for (size_t i = 0; i < b.n_rows * width; ++i) {
            const float v = values[i];
            const place at{b, ubatch, static_cast<uint32_t>(width ? i / width : 0)};
            if (std::isnan(v) || (std::isinf(v) && !(column == column::selection && v < 0))) {
                report(column == column::weights ? "weights-finite" : "values-finite", at,
                       to_string(column) + (std::isnan(v) ? " holds NaN" : " holds an infinity"));
            } else if (column == column::norms && v < 0) {
                report("norms-negative", at, "a norm of " + fixed(v));
            }
        }
    }
}

void invariant_check::add(const expert_counts & counts) {
    result_.ubatches += counts.ubatches;
    result_.tokens += counts.tokens;
    for (size_t i = 0; i < counts.blocks.size(); ++i) {
        const expert_counts::block & b = counts.blocks[i];
        block_rows                   rows;
        rows.layout = &counts.layout[i];
        const place    at{rows, 0, 0};
        const uint64_t sum = std::accumulate(b.count.begin(), b.count.end(), uint64_t(0));
        result_.rows += b.rows;
        if (rows.layout->n_expert_used > 0 && sum != b.rows * rows.layout->n_expert_used) {  // 0: not known
            report("counts-sum", at,
                   "counts add up to " + std::to_string(sum) + ", " + std::to_string(b.rows) + " rows of " +
                       std::to_string(rows.layout->n_expert_used) + " make " +
                       std::to_string(b.rows * rows.layout->n_expert_used));
        }
        if (b.rows_decoded > b.rows) {
            report("counts-sum", at, "more decoded rows than rows");
        }
    }
}

std::vector<finding> invariant_check::finish() {
    std::vector<finding> list;
    for (auto & [key, f] : findings_) {
        list.push_back(std::move(f));
    }
    for (const auto & [id, test] : misread_) {
        result_.windows += test.windows();
        result_.partitions += test.partitions();
        result_.partitions_expected += test.expected();
        if (test.log10_chance() > misread_log10_alpha - std::log10(double(misread_.size()))) {
            continue;
        }
        finding f;
        f.name  = "contiguous-misread";
        f.layer = id.layer;
        f.block = id.block;
        f.count = test.partitions();
        f.what  = count_of(test.partitions(), "window", "windows") + " of " + std::to_string(test.windows()) +
                 " hold every expert exactly once, where chance would give " + fixed(test.expected()) +
                 ": these ids look like an argsort read without its strides, not like selections";
        list.push_back(std::move(f));
    }
    return list;
}

}  // namespace moescope::check
