#include "capture/draft_board.hpp"

#include <algorithm>

namespace moescope::capture {

size_t text_run::overlap(const text_run & run) const {
    const int64_t at = int64_t{run.first_pos} - first_pos;
    if (run.first_pos < 0 || at < 0 || at >= static_cast<int64_t>(tokens.size())) {
        return 0;
    }
    const size_t n = std::min(tokens.size() - static_cast<size_t>(at), run.tokens.size());
    return std::equal(tokens.begin() + at, tokens.begin() + at + static_cast<int64_t>(n), run.tokens.begin()) ? n : 0;
}

void draft_board::post(const void * who, int32_t seq, text_run run, int32_t samples) {
    const std::lock_guard lock(mutex_);
    latest_[{who, seq}] = {std::move(run), {}, samples};
}

void draft_board::cut(const void * who, int32_t seq, int32_t pos) {
    const std::lock_guard lock(mutex_);
    const auto            it = latest_.find({who, seq});
    if (it == latest_.end()) {
        return;
    }
    text_run &    text = it->second.text;
    const int64_t at   = std::max<int64_t>(0, int64_t{pos} - text.first_pos);
    if (at < static_cast<int64_t>(text.tokens.size())) {
        it->second.removed = {text.first_pos + static_cast<int32_t>(at), {text.tokens.begin() + at, text.tokens.end()}};
        text.tokens.resize(static_cast<size_t>(at));
    }
}

void draft_board::forget(const void * who) {
    const std::lock_guard lock(mutex_);
    latest_.erase(latest_.lower_bound({who, INT32_MIN}), latest_.upper_bound({who, INT32_MAX}));
}

bool draft_board::has_others(const void * who) const {
    const std::lock_guard lock(mutex_);
    return std::any_of(latest_.begin(), latest_.end(), [&](const auto & entry) { return entry.first.first != who; });
}

template <class Test>
bool draft_board::any_other(const void * who, int32_t seq, Test && test) const {
    const std::lock_guard lock(mutex_);
    return std::any_of(latest_.begin(), latest_.end(), [&](const auto & entry) {
        return entry.first.first != who && entry.first.second == seq && test(entry.second);
    });
}

bool draft_board::others_sample(const void * who, int32_t seq, int32_t pos) const {
    return pos >= 0 && any_other(who, seq, [&](const posted & p) { return p.samples == pos; });
}

bool draft_board::others_have(const void * who, int32_t seq, const text_run & run) const {
    return !run.tokens.empty() &&
           any_other(who, seq, [&](const posted & p) { return p.text.overlap(run) == run.tokens.size(); });
}

bool draft_board::others_tried(const void * who, int32_t seq, const text_run & run) const {
    return any_other(who, seq, [&](const posted & p) { return p.text.overlap(run) > 0 || p.removed.overlap(run) > 0; });
}

}  // namespace moescope::capture
