#include "report/cache_bundle.hpp"

#include <cmath>

namespace moescope::report {

namespace {

using nlohmann::json;

json known(double v) {
    return std::isfinite(v) ? json(v) : json(nullptr);
}

json foresight_json(bundle & b, const page_foresight & f) {
    if (f.empty()) {
        return nullptr;
    }
    return {
        {"lists", f.lists},
        {"recall", b.add(f.recall)},
        {"recall_low", b.add(f.recall_low)},
        {"recall_high", b.add(f.recall_high)},
        {"layer", f.layer},
        {"layer_recall", b.add(f.layer_recall)},
        {"own", known(f.own)},
        {"prefetchers", f.prefetchers},
        {"slots", f.slots},
        {"slice_times", f.slice_times},
        {"stall", b.add(f.stall)},
        {"fetched", b.add(f.fetched)},
        {"in_vain", b.add(f.in_vain)},
        {"slice_bytes", f.slice_bytes},
        {"layer_seconds", known(f.layer_seconds)},
    };
}

}  // namespace

json cache_json(bundle & b, const page_cache & c) {
    if (c.empty()) {
        return nullptr;
    }
    return {
        {"asked", c.asked},
        {"of_tokens", c.of_tokens},
        {"tokens", c.tokens},
        {"ubatches", c.ubatches},
        {"accesses", c.accesses},
        {"cold", c.cold},
        {"units", c.units},
        {"units_are_sequences", c.units_are_sequences},
        {"n_expert", c.n_expert},
        {"slots", c.slots},
        {"policies", c.policies},
        {"too_many", c.too_many},
        {"hit_rate", b.add(c.hit_rate)},
        {"hit_rate_low", b.add(c.hit_rate_low)},
        {"hit_rate_high", b.add(c.hit_rate_high)},
        {"bytes_per_token", b.add(c.bytes_per_token)},
        {"foresight", foresight_json(b, c.foresight)},
    };
}

}  // namespace moescope::report
