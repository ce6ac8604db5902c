#include "stats/score_rows.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace moescope::stats {

score_rows::score_rows(saliency_block & to, const block_rows & rows, column gate)
    : to_(to),
      rows_(rows),
      gate_(need(gate)),
      norm_(need(column::norms)),
      gated_(rows.layout->n_expert_used) {
    gram_  = to.easy_ep.empty() ? nullptr : need(column::gram);
    peaks_ = to.peak.empty() ? nullptr : need(column::peaks);
    if (!to.removal.empty()) {
        final_ = need(column::weights);
        raw_   = need(column::weights_raw);
        next_  = need(column::runner_up);
        removal_.emplace(*rows.layout);
        probs_ = removal_errors::spreads(*rows.layout) ? need(column::probs) : nullptr;
    }
}

const float * score_rows::need(column c) const {
    const float * values = rows_.values_of(c);
    if (values == nullptr && rows_.n_rows > 0) {
        throw error("layer " + std::to_string(to_.layer) + " was captured without " + to_string(c));
    }
    return values;
}

const float * score_rows::row_of(const float * values, column c, uint32_t row) const {
    return values + size_t(row) * rows_.layout->width(c);
}

double score_rows::shift_of(uint32_t row) const {
    return gram_ == nullptr
               ? 0
               : std::max(0.0, 1 - residual_cosine(row_of(gram_, column::gram, row), rows_.layout->n_gram()));
}

void score_rows::add_row(uint32_t row, int64_t label) {
    const uint32_t k     = rows_.layout->n_expert_used;
    const double   shift = shift_of(row);
    const double * errors =
        removal_ ? removal_->of_row(row_of(final_, column::weights, row), row_of(raw_, column::weights_raw, row),
                                    row_of(next_, column::runner_up, row), row_of(gram_, column::gram, row))
                 : nullptr;
    for (uint32_t i = 0; i < k; ++i) {
        const size_t at = size_t(row) * k + i;
        const size_t e  = rows_.id(at);
        const double g = static_cast<double>(gate_[at]), f = static_cast<double>(norm_[at]);
        gated_[i]      = to_.norms_gated() ? f : g * f;
        const auto add = [&](expert_sums & sums, size_t to) {
            sums.norm_squared[to] += f * f;
            sums.gated_squared[to] += gated_[i] * gated_[i];
            if (gram_ != nullptr) {
                sums.easy_ep[to] += gated_[i] * shift;
            }
            if (errors != nullptr) {
                sums.removal[to] += errors[i];
            }
        };
        add(to_, e);
        if (label >= 0) {
            const size_t of_label = static_cast<size_t>(label) * to_.n_expert + e;
            add(to_.label_sums, of_label);
            to_.label_sums.gate[of_label] += g;
            to_.label_sums.norm[of_label] += f;
            to_.label_sums.gated_norm[of_label] += gated_[i];
        }
        if (peaks_ != nullptr) {
            to_.peak[e] = std::max(to_.peak[e], peaks_[at]);
        }
    }
    add_pairs(row);
    if (probs_ != nullptr) {
        add_others(row, label);
    }
}

void score_rows::add_others(uint32_t row, int64_t label) {
    const uint32_t k     = rows_.layout->n_expert_used;
    const float *  probs = row_of(probs_, column::probs, row);
    for (uint32_t e = 0; e < to_.n_expert; ++e) {
        bool selected = false;
        for (uint32_t i = 0; i < k; ++i) {
            selected = selected || rows_.id(size_t(row) * k + i) == e;
        }
        const double error = selected ? 0 : removal_->of_other(static_cast<double>(probs[e]));
        to_.removal[e] += error;
        if (label >= 0) {
            to_.label_sums.removal[static_cast<size_t>(label) * to_.n_expert + e] += error;
        }
    }
}

void score_rows::add_pairs(uint32_t row) {
    const uint32_t k = rows_.layout->n_expert_used;
    for (uint32_t i = 0; i < k; ++i) {
        const uint32_t a = rows_.id(size_t(row) * k + i);
        for (uint32_t j = 0; j < i; ++j) {
            const uint32_t b = rows_.id(size_t(row) * k + j);
            if (a == b) {
                continue;  // GroveMoE's chunks may repeat
            }
            const size_t pair = pair_index(a, b, to_.n_expert);
            to_.pair_count[pair] += 1;
            to_.pair_product[pair] += gated_[i] * gated_[j];
        }
    }
}

}  // namespace moescope::stats
