#include "infer/corpus_runner.hpp"

#include <algorithm>

namespace moescope::infer {

corpus_runner::corpus_runner(engine & e, const std::vector<sample> & samples, runner_options options, hooks h,
                             corpus_position start)
    : engine_(e),
      samples_(samples),
      options_(std::move(options)),
      hooks_(std::move(h)),
      at_(start) {
    while (at_.unit % options_.n_shards != options_.shard) {
        at_ = {at_.unit + 1, 0};
    }
}

uint32_t corpus_runner::limit() const {
    return options_.max_tokens > 0 ? std::min(options_.max_tokens, engine_.n_ctx()) : engine_.n_ctx();
}

bool corpus_runner::load_unit() {
    const uint64_t begin = at_.unit * unit_size;
    if (begin >= samples_.size()) {
        return false;
    }
    const uint64_t end = std::min<uint64_t>(samples_.size(), begin + unit_size);
    first_             = static_cast<uint32_t>(begin);
    tokens_.clear();
    truncated_.clear();
    std::vector<uint32_t> lengths;
    for (uint64_t i = begin; i < end; ++i) {
        tokens_.push_back(hooks_.tokenize(samples_[i]));
        truncated_.push_back(tokens_.back().size() > limit());
        tokens_.back().resize(std::min<size_t>(tokens_.back().size(), limit()));
        lengths.push_back(static_cast<uint32_t>(tokens_.back().size()));
    }
    groups_ = pack(lengths, engine_.n_ubatch(), options_.n_seq);
    for (packed_group & g : groups_) {
        for (uint32_t & i : g) {
            i += first_;
        }
    }
    loaded_ = true;
    return true;
}

uint64_t corpus_runner::samples_left() const {
    uint64_t left = 0;
    for (uint64_t unit = at_.unit; unit * unit_size < samples_.size(); unit += options_.n_shards) {
        left += std::min<uint64_t>(unit_size, samples_.size() - unit * unit_size);
    }
    for (uint64_t g = 0; loaded_ && g < std::min<uint64_t>(at_.group, groups_.size()); ++g) {
        left -= std::min<uint64_t>(left, groups_[g].size());
    }
    return left;
}

bool corpus_runner::next(group_result & result) {
    result = {};
    while (!loaded_ || at_.group >= groups_.size()) {
        if (loaded_) {
            at_     = {at_.unit + options_.n_shards, 0};
            loaded_ = false;
        }
        if (!load_unit()) {
            return false;
        }
    }
    const packed_group & group = groups_[at_.group];
    const decoded        how   = compute(group);
    if (how == decoded::ok) {
        keep(group, result);
    } else {
        hooks_.discard();
        result.why     = engine_.last_error();
        result.aborted = how == decoded::aborted;
        if (!result.aborted) {
            compute_without_bad(group, result);
        }
    }
    at_.group += result.aborted ? 0 : 1;
    return true;
}

void corpus_runner::keep(const packed_group & group, group_result & result) {
    if (group.empty()) {
        return;
    }
    hooks_.commit();
    for (const uint32_t i : group) {
        result.computed.push_back(i);
        result.n_tokens += tokens(i).size();
        result.n_truncated += truncated_[i - first_] ? 1 : 0;
    }
}

decoded corpus_runner::compute(const packed_group & group) {
    hooks_.begin(group);
    const std::vector<std::vector<batch_token>> batches = batches_of(group);
    return hooks_.compute ? hooks_.compute(batches) : compute_by_engine(batches);
}

// Samples that share one ubatch, or one that takes several.
std::vector<std::vector<batch_token>> corpus_runner::batches_of(const packed_group & group) const {
    std::vector<std::vector<batch_token>> batches(1);
    for (size_t s = 0; s < group.size(); ++s) {
        const std::vector<int32_t> & t = tokens(group[s]);
        for (size_t i = 0; i < t.size(); ++i) {
            if (batches.back().size() == engine_.n_ubatch()) {
                batches.emplace_back();
            }
            batches.back().push_back(
                {t[i], static_cast<int32_t>(i), static_cast<int32_t>(s), options_.rows.wants(i, t.size())});
        }
    }
    return batches;
}

decoded corpus_runner::compute_by_engine(const std::vector<std::vector<batch_token>> & batches) {
    engine_.forget();
    for (const std::vector<batch_token> & batch : batches) {
        if (const decoded how = engine_.decode(batch); how != decoded::ok) {
            return how;
        }
    }
    return decoded::ok;
}

// One bad sample must not take its neighbours with it: finds the bad ones alone, then computes the others together.
void corpus_runner::compute_without_bad(const packed_group & group, group_result & result) {
    packed_group good;
    for (const uint32_t i : group) {
        const decoded how = group.size() == 1 ? decoded::failed : compute({i});
        hooks_.discard();
        if (how == decoded::aborted) {
            result.aborted = true;
            return;
        }
        (how == decoded::ok ? good : result.failed).push_back(i);
    }
    const decoded how = good.empty() ? decoded::ok : compute(good);
    if (how == decoded::ok) {
        keep(good, result);
        return;
    }
    hooks_.discard();
    result.aborted = how == decoded::aborted;
    result.failed.insert(result.failed.end(), good.begin(), good.end());
}

}  // namespace moescope::infer
