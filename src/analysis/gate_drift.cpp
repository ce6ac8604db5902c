#include "analysis/gate_drift.hpp"

#include <algorithm>
#include <cmath>

#include "analysis/tools/rows_by_token.hpp"
#include "analysis/tools/running_stats.hpp"

namespace moescope::analysis {

drift_values measure_drift(const float * a, const float * b, size_t n) {
    double sa = 0, sb = 0, aa = 0, bb = 0, ab = 0, dd = 0, abs = 0;
    for (size_t i = 0; i < n; ++i) {
        const double x = a[i], y = b[i];
        sa += x;
        sb += y;
        aa += x * x;
        bb += y * y;
        ab += x * y;
        dd += (x - y) * (x - y);
        abs += std::fabs(x - y);
    }
    const double count = static_cast<double>(n), na = std::sqrt(aa), nb = std::sqrt(bb);
    const double cosine     = na > 0 && nb > 0 ? std::clamp(ab / (na * nb), -1.0, 1.0) : unknown;
    double       normalised = 0, va = 0, vb = 0, vab = 0;
    for (size_t i = 0; i < n; ++i) {  // a second pass: differences of nearly equal sums would lose the digits
        const double x = a[i], y = b[i], d = x / na - y / nb, ca = x - sa / count, cb = y - sb / count;
        normalised += d * d;
        va += ca * ca;
        vb += cb * cb;
        vab += ca * cb;
    }
    drift_values v;
    v[size_t(drift_measure::cosine)]          = cosine;
    v[size_t(drift_measure::cosine_distance)] = 1 - cosine;
    v[size_t(drift_measure::euclidean)]       = std::sqrt(dd);
    v[size_t(drift_measure::l2_normalised)]   = na > 0 && nb > 0 ? std::sqrt(normalised) : unknown;
    v[size_t(drift_measure::pearson)] =
        va > 0 && vb > 0 ? std::clamp(vab / std::sqrt(va) / std::sqrt(vb), -1.0, 1.0) : unknown;
    v[size_t(drift_measure::mean_abs)] = n > 0 ? abs / count : unknown;
    return v;
}

drift_summary summarise(std::vector<float> values) {
    values.erase(std::remove_if(values.begin(), values.end(), [](float v) { return std::isnan(v); }), values.end());
    running_stats stats;
    for (const float v : values) {
        stats.add(v);
    }
    drift_summary s{stats.n(), stats.mean(), stats.sd(), stats.min(), stats.max(), unknown};
    if (!values.empty()) {
        const size_t half = values.size() / 2;
        std::nth_element(values.begin(), values.begin() + static_cast<long>(half), values.end());
        s.median = values[half];
        if (values.size() % 2 == 0) {
            s.median = (s.median + *std::max_element(values.begin(), values.begin() + static_cast<long>(half))) / 2;
        }
    }
    return s;
}

std::vector<float> gate_drift_result::all(drift_measure m) const {
    std::vector<float> values;
    for (const drift_pair & p : pairs) {
        const auto & v = p.values[static_cast<size_t>(m)];
        values.insert(values.end(), v.begin(), v.end());
    }
    return values;
}

void gate_drift::ubatch(const routed_ubatch & u) {
    const size_t first_step = result_.steps.size();
    step_of_token_.assign(u.n_tokens(), -1);
    for (uint32_t t = 0; t < u.n_tokens(); ++t) {
        if (every_row_ || u.phases[t] == static_cast<uint8_t>(phase::decode)) {
            step_of_token_[t] = static_cast<int64_t>(result_.steps.size());
            result_.steps.push_back({u.batch, u.pos[t], u.seq[t], u.token[t], {}});
        }
    }
    const size_t n_new = result_.steps.size() - first_step;
    if (n_new == 0) {
        return;
    }
    sum_.assign(n_new, drift_values{});
    n_.assign(n_new, {});
    const block_rows * before = nullptr;
    for (const block_rows & rows : u.blocks) {
        const block_layout & l = *rows.layout;
        if (rows.values_of(column::gate_input) == nullptr || l.block != 0 || l.has(block_layout::mtp)) {
            continue;
        }
        if (before != nullptr && before->layout->n_embd == l.n_embd) {
            add_pair(u, *before, rows);
        }
        before = &rows;
    }
    for (size_t i = 0; i < n_new; ++i) {
        for (size_t m = 0; m < n_drift_measures; ++m) {
            result_.steps[first_step + i].mean[m] = n_[i][m] ? sum_[i][m] / n_[i][m] : unknown;
        }
    }
}

void gate_drift::add_pair(const routed_ubatch & u, const block_rows & a, const block_rows & b) {
    const size_t  n_embd = a.layout->n_embd;
    const float * va     = a.values_of(column::gate_input);
    const float * vb     = b.values_of(column::gate_input);
    drift_pair &  p      = pair(a.layout->layer, b.layout->layer);
    rows_by_token(a, u.n_tokens(), row_of_token_);
    const size_t first_step = result_.steps.size() - sum_.size();
    for (uint32_t r = 0; r < b.n_rows; ++r) {
        const int32_t t    = b.token_of(r);
        const int64_t step = t >= 0 ? step_of_token_[static_cast<size_t>(t)] : -1;
        const int64_t row  = t >= 0 ? row_of_token_[static_cast<size_t>(t)] : -1;
        if (step < 0 || row < 0) {
            result_.rows_without_partner += step >= 0;
            continue;
        }
        const drift_values v = measure_drift(va + static_cast<size_t>(row) * n_embd, vb + r * n_embd, n_embd);
        p.step.push_back(static_cast<uint32_t>(step));
        for (size_t m = 0; m < n_drift_measures; ++m) {
            p.values[m].push_back(static_cast<float>(v[m]));
            if (!std::isnan(v[m])) {
                sum_[static_cast<size_t>(step) - first_step][m] += v[m];
                n_[static_cast<size_t>(step) - first_step][m] += 1;
            }
        }
    }
}

drift_pair & gate_drift::pair(int32_t from, int32_t to) {
    const auto less = [](const drift_pair & p, const std::pair<int32_t, int32_t> & key) {
        return std::pair(p.from_layer, p.to_layer) < key;
    };
    const auto it = std::lower_bound(result_.pairs.begin(), result_.pairs.end(), std::pair(from, to), less);
    if (it != result_.pairs.end() && it->from_layer == from && it->to_layer == to) {
        return *it;
    }
    return *result_.pairs.insert(it, {from, to, {}, {}});
}

}  // namespace moescope::analysis
