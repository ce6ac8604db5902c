#include "evaluate/evaluation.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace moescope::evaluate {

double evaluation::predictions() const {
    double n = 0;
    for (const damage_sums & s : sums.empty() ? std::vector<damage_sums>() : sums.front()) {
        n += s.tokens;
    }
    return n;
}

std::string difference(const evaluation & a, const evaluation & b) {
    for (size_t i = 0; i < std::max(a.identity.size(), b.identity.size()); ++i) {
        if (i >= a.identity.size() || i >= b.identity.size() || a.identity[i] != b.identity[i]) {
            return i < a.identity.size() ? a.identity[i].first : b.identity[i].first;
        }
    }
    return "";
}

void add_shard(evaluation & to, const evaluation & from, const std::string & from_name) {
    if (const std::string what = difference(to, from); !what.empty()) {
        throw error("it is a shard of another evaluation: " + what + " differs").in(from_name);
    }
    if (!from.complete) {
        throw error("it is not finished").in(from_name).fix("finish it with moescope evaluate --resume");
    }
    for (const uint64_t s : from.shards) {
        if (from.n_shards != to.n_shards || std::find(to.shards.begin(), to.shards.end(), s) != to.shards.end()) {
            throw error("its samples are already in there: they would count twice").in(from_name);
        }
    }
    to.shards.insert(to.shards.end(), from.shards.begin(), from.shards.end());
    std::sort(to.shards.begin(), to.shards.end());
    to.samples += from.samples;
    to.tokens += from.tokens;
    to.truncated += from.truncated;
    to.failed.insert(to.failed.end(), from.failed.begin(), from.failed.end());
    std::sort(to.failed.begin(), to.failed.end());
    for (size_t l = 0; l < to.labels.size(); ++l) {
        to.label_samples[l] += from.label_samples[l];
    }
    for (size_t p = 0; p < to.sums.size(); ++p) {
        for (size_t u = 0; u < to.sums[p].size(); ++u) {
            to.sums[p][u] += from.sums[p][u];
        }
    }
    to.complete = to.complete && from.complete;
}

}  // namespace moescope::evaluate
