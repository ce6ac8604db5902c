#include "report/caches.hpp"

#include <algorithm>
#include <limits>

#include "analysis/cache_study.hpp"
#include "analysis/tools/model_sizes.hpp"
#include "core/error.hpp"
#include "report/foresight.hpp"

namespace moescope::report {

namespace {

using namespace analysis;

std::vector<uint32_t> slots_to_try(uint32_t n_expert) {
    std::vector<uint32_t> slots;
    for (const uint32_t sixteenths : {1u, 2u, 4u, 6u, 8u, 10u, 12u, 14u, 16u}) {
        slots.push_back(std::max(1u, n_expert * sixteenths / 16));
    }
    slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
    return slots;
}

void append_scores(page_cache & c, const cache_result & r) {
    const bool sizes = r.mean_slice_bytes > 0 && r.tokens > 0;
    for (const cache_score & s : r.scores) {
        const interval i = s.hit_rate_interval();
        c.hit_rate.push_back(s.hit_rate());
        c.hit_rate_low.push_back(i.low);
        c.hit_rate_high.push_back(i.high);
        c.bytes_per_token.push_back(sizes ? s.bytes_missed / double(r.tokens) : unknown);
        c.accesses = s.accesses;
        c.cold     = s.cold;
    }
}

}  // namespace

page_cache too_many_accesses(uint64_t accesses) {
    page_cache c;
    c.too_many = accesses;
    return c;
}

page_cache simulate_caches(trace::trace_source & source, const cache_model & model,
                           const std::function<bool()> & going_on) {
    uint64_t    of_tokens = 0;
    cache_study study(source, {}, true, [&](const trace::amount_read & read) {
        of_tokens = read.tokens;
        return going_on();
    });
    page_cache  c;
    if (!going_on()) {
        return c;
    }
    c.of_tokens = of_tokens;
    c.asked     = !study.rows().only ? "all" : *study.rows().only == phase::decode ? "decode" : "prefill";
    if (study.empty()) {
        return c;
    }
    cache_plan each{slots_to_try(study.most_experts()),
                    false,
                    cache::optimum_bytes(study.counts().accesses()) <= cache_study::optimum_memory,
                    model.sizes,
                    {}};
    cache_plan pool                         = each;
    pool.global                             = true;
    const std::vector<cache_result> results = study.simulate({each, pool});
    if (results.empty()) {
        return {};
    }
    c.tokens              = results[0].tokens;
    c.ubatches            = results[0].ubatches;
    c.units               = results[0].units;
    c.units_are_sequences = results[0].units_are_sequences;
    c.n_expert            = study.most_experts();
    c.slots               = each.slots;
    for (size_t i = 0; i < results[0].scores.size() / c.slots.size(); ++i) {
        c.policies.push_back(to_string(results[0].scores[i].policy));
    }
    for (const cache_result & r : results) {
        append_scores(c, r);
    }
    c.foresight = foresee(source, model.sizes, model.path, [&](const trace::amount_read &) { return going_on(); });
    return going_on() ? c : page_cache{};
}

cache_model cache_model_of(const std::string & model_path) {
    try {
        return {read_expert_sizes(model_path), model_path};
    } catch (const error &) {
        return {};  // the page says what of the model it cannot use
    }
}

}  // namespace moescope::report
