#include "analysis/tools/fetch_line.hpp"

#include <algorithm>

namespace moescope::analysis {

void fetch_line::foresee(uint64_t turn, const fetch & f) {
    const auto same = [&](const foreseen & known) { return known.turn == turn && known.what.slice == f.slice; };
    if (std::none_of(waiting_.begin(), waiting_.end(), same) && std::none_of(begun_.begin(), begun_.end(), same)) {
        waiting_.push_back({turn, f, said_, 0});
    }
}

// All transfers that begin before `now`.
void fetch_line::begin_transfers(double now) {
    while (!waiting_.empty() && std::max(free_, waiting_.front().from) < now) {
        foreseen f = waiting_.front();
        waiting_.pop_front();
        f.arrival = free_ = std::max(free_, f.from) + f.what.time;
        ahead_ += f.what.time;
        begun_.push_back(f);
    }
}

// Hands the turn what was foreseen of it, fetches the rest, and forgets what it does not need. Returns when all is there.
double fetch_line::take(uint64_t turn, const std::vector<fetch> & missing, double now) {
    double ready = now;
    for (const fetch & need : missing) {
        const auto it = std::find_if(begun_.begin(), begun_.end(),
                                     [&](const foreseen & f) { return f.turn == turn && f.what.slice == need.slice; });
        if (it != begun_.end()) {
            ready = std::max(ready, it->arrival);
            begun_.erase(it);
            continue;
        }
        free_ = std::max(free_, now) + need.time;
        ready = std::max(ready, free_);
        demand_ += need.time;
    }
    const auto in_vain = std::remove_if(begun_.begin(), begun_.end(), [&](const foreseen & f) {
        vain_ += f.turn <= turn ? f.what.time : 0;
        return f.turn <= turn;
    });
    begun_.erase(in_vain, begun_.end());
    return ready;
}

double fetch_line::begin(uint64_t turn, const std::vector<fetch> & missing, double compute) {
    const double now = now_;
    begin_transfers(now);
    waiting_.erase(std::remove_if(waiting_.begin(), waiting_.end(), [&](const foreseen & f) { return f.turn <= turn; }),
                   waiting_.end());
    const double ready = take(turn, missing, now);
    said_              = now;
    now_               = ready + compute;
    return ready - now;
}

}  // namespace moescope::analysis
