#include "report/foresight.hpp"

#include <algorithm>
#include <cmath>

#include "analysis/prefetch_study.hpp"
#include "core/error.hpp"

namespace moescope::report {

namespace {

using namespace analysis;

prefetch_plan plan_of(const prefetch_study & study, const expert_sizes & sizes) {
    prefetch_plan plan;
    plan.sizes = sizes;
    if (study.visits() > max_foresight_visits) {
        return plan;
    }
    for (const uint32_t sixteenths : {2u, 4u, 8u, 12u}) {
        plan.slots.push_back(std::max(1u, study.caches().most_experts() * sixteenths / 16));
    }
    plan.slots.erase(std::unique(plan.slots.begin(), plan.slots.end()), plan.slots.end());
    for (double time = 1.0 / 16; time < 16; time *= 2) {
        plan.slice_times.push_back(time);
        plan.slice_times.push_back(time * std::sqrt(2.0));
    }
    return plan;
}

void append_recalls(page_foresight & f, const prefetch_result & r) {
    for (const foresight list : all_foresights()) {
        const recall_sums & s = r.all[static_cast<size_t>(list)];
        f.lists.push_back(to_string(list));
        for (size_t m = 0; m < recall_sums::n_m; ++m) {
            const interval i = s.range(m);
            f.recall.push_back(s.recall(m));
            f.recall_low.push_back(i.low);
            f.recall_high.push_back(i.high);
        }
    }
    for (const block_recall & b : r.blocks) {
        f.layer.push_back(b.layout.layer);
        for (const recall_sums & s : b.by) {
            for (size_t m = 0; m < recall_sums::n_m; ++m) {
                f.layer_recall.push_back(s.recall(m));
            }
        }
    }
    f.own = r.own;
}

void append_scores(page_foresight & f, const prefetch_result & r, const prefetch_plan & plan) {
    const auto tokens = double(r.tokens);
    f.slots           = plan.slots;
    f.slice_times     = plan.slice_times;
    for (const prefetch_score & s : r.scores) {
        if (s.slots == plan.slots.front() && s.slice_time == plan.slice_times.front()) {
            f.prefetchers.push_back(to_string(s.by));
        }
        f.stall.push_back(s.stall() / tokens);
        f.fetched.push_back((s.ahead + s.on_demand) / tokens);
        f.in_vain.push_back(s.in_vain / tokens);
    }
    f.slice_bytes = r.mean_slice_bytes;
}

}  // namespace

page_foresight foresee(trace::trace_source & source, const expert_sizes & sizes, const std::string & model,
                       const trace::read_progress & progress) {
    page_foresight  f;
    foreseen_router router;
    try {
        router = read_router_for(source, model);
    } catch (const error &) {
        // The page says what of the model it cannot use.
    }
    prefetch_study study(source, router, {}, true, progress);
    if (study.empty()) {
        return f;
    }
    const prefetch_plan plan = plan_of(study, sizes);
    const auto          r    = study.simulate(plan);
    if (!r) {
        return f;
    }
    append_recalls(f, *r);
    f.layer_seconds = study.layer_seconds();
    if (!plan.slots.empty()) {
        append_scores(f, *r, plan);
    }
    return f;
}

}  // namespace moescope::report
