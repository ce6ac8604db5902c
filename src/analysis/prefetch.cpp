#include "analysis/prefetch.hpp"

#include <algorithm>

#include "analysis/prefetch_replay.hpp"
#include "analysis/tools/slices.hpp"
#include "analysis/tools/sum.hpp"

namespace moescope::analysis {

namespace {

constexpr uint64_t most_units = 1024;  // neighbours are taken together: every block keeps sums for each

void size_for(recall_sums & s, uint64_t units) {
    for (auto & found : s.found) {
        found.resize(units);
    }
    s.selected.resize(units);
}

// found among the first experts of a list, for each m.
void add_row(recall_sums & s, const std::vector<uint32_t> & selected, const std::vector<uint32_t> & list, uint32_t k,
             uint32_t unit) {
    for (size_t m = 0; m < recall_sums::n_m; ++m) {
        const auto end = list.begin() + static_cast<long>(std::min<size_t>((m + 1) * k, list.size()));
        for (const uint32_t id : selected) {
            s.found[m][unit] += std::find(list.begin(), end, id) != end;
        }
    }
    s.selected[unit] += double(selected.size());
    s.rows += 1;
}

}  // namespace

double recall_sums::recall(size_t m) const {
    const double all = sum(selected);
    return all > 0 ? sum(found[m]) / all : unknown;
}

double block_recall::chance(size_t m) const {
    return std::min(1.0, double(m + 1) * layout.n_expert_used / layout.n_expert);
}

const char * to_string(const prefetcher & p) {
    return p.how == prefetcher::kind::none ? "none" : p.how == prefetcher::kind::oracle ? "oracle" : to_string(p.from);
}

double prefetch_score::stall() const {
    return sum(unit_stall);
}

const prefetch_score * prefetch_result::find(const prefetcher & by, uint32_t slots, double slice_time) const {
    const auto it = std::find_if(scores.begin(), scores.end(), [&](const prefetch_score & s) {
        return s.by == by && s.slots == slots && s.slice_time == slice_time;
    });
    return it == scores.end() ? nullptr : &*it;
}

hidden_stall hidden_by(const prefetch_score & by, const prefetch_score & none) {
    hidden_stall h;
    if (none.stall() > 0) {
        std::vector<double> hidden;
        for (size_t i = 0; i < none.unit_stall.size(); ++i) {
            hidden.push_back(none.unit_stall[i] - by.unit_stall[i]);
        }
        h.share = sum(hidden) / none.stall();
        h.range = linear_ratio(hidden, none.unit_stall);
    }
    return h;
}

prefetch::prefetch(const prefetch_plan & plan, const cache_counts & counted, const foresight_lessons & lessons,
                   foreseen_router & router)
    : counted_(counted),
      forecaster_(counted, lessons, router),
      units_(counted.n_sequences(), counted.ubatches()) {
    result_.units               = std::min(units_.n, most_units);
    result_.units_are_sequences = units_.by_sequence;
    result_.unit_tokens.resize(result_.units);
    for (recall_sums & s : result_.all) {
        size_for(s, result_.units);
    }
    if (!plan.slots.empty()) {
        replay_ = std::make_unique<replay>(plan, counted, result_.units);
    }
}

prefetch::~prefetch() = default;

void prefetch::add_recall(const routed_ubatch & u, uint32_t unit) {
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        const block_rows & rows = u.blocks[i];
        const uint32_t     k    = rows.layout->n_expert_used;
        block_recall &     b    = blocks_.at(*rows.layout, i);
        for (uint32_t r = 0; r < rows.n_rows; ++r) {
            distinct_ids(rows, r, ids_);
            for (const foresight f : all_foresights()) {
                const std::vector<uint32_t> & list = forecaster_.list(f, i, r);
                if (list.empty()) {
                    continue;
                }
                recall_sums & here = b.by[static_cast<size_t>(f)];
                size_for(here, result_.units);
                add_row(here, ids_, list, k, unit);
                add_row(result_.all[static_cast<size_t>(f)], ids_, list, k, unit);
            }
            const std::vector<uint32_t> & own = forecaster_.own(i, r);
            for (const uint32_t id : own.empty() ? std::vector<uint32_t>{} : ids_) {
                own_found_ += std::find(own.begin(), own.end(), id) != own.end();
                own_selected_ += 1;
            }
            result_.own_rows += !own.empty();
        }
    }
}

void prefetch::ubatch(const routed_ubatch & u) {
    const std::vector<token_place> & places = tracker_.follow(u);
    if (!selects_any(u)) {
        return;
    }
    if (result_.ubatches == counted_.half_at()) {
        forecaster_.start_half(1);
        if (replay_) {
            replay_->start_half();
        }
    }
    const uint64_t n    = std::max<uint64_t>(units_.n, 1);
    const auto     unit = static_cast<uint32_t>(units_.of(places, result_.ubatches) * result_.units / n);
    forecaster_.ubatch(u, places);
    add_recall(u, unit);
    if (replay_) {
        replay_->ubatch(u, forecaster_, unit);
    }
    uint32_t n_rows = 0;  // tokens that were routed: a filter may have left some out
    for (const block_rows & rows : u.blocks) {
        n_rows = std::max(n_rows, rows.n_rows);
        result_.visits += rows.n_rows > 0;
    }
    result_.unit_tokens[unit] += n_rows;
    result_.tokens += n_rows;
    result_.ubatches += 1;
}

prefetch_result prefetch::result() {
    result_.own = own_selected_ > 0 ? own_found_ / own_selected_ : unknown;
    for (const block_recall * b : blocks_.sorted()) {
        result_.blocks.push_back(*b);
        for (recall_sums & s : result_.blocks.back().by) {
            size_for(s, result_.units);
        }
    }
    if (replay_) {
        replay_->add_to(result_);
    }
    return std::move(result_);
}

}  // namespace moescope::analysis
