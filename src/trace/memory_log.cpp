#include "trace/memory_log.hpp"

#include <algorithm>

#include "trace/taken_back.hpp"

namespace moescope::trace {

void memory_log::read(decoder & d) {
    while (!d.done()) {
        const auto   r = d.value<memory_record>();
        memory_event e;
        e.kind       = static_cast<memory_event::what>(r.kind);
        e.seq        = r.seq;
        e.to         = r.to;
        e.p0         = r.p0;
        e.p1         = r.p1;
        e.delta      = r.delta;
        e.last       = r.last;
        e.why        = static_cast<memory_event::removal>(r.why);
        e.n_ubatches = r.n_ubatches;
        for (uint32_t i = 0; i < r.n_taken_back; ++i) {
            const auto t = d.value<token_record>();
            e.taken_back.push_back({t.ubatch, t.token});
        }
        add(std::move(e));
    }
}

void memory_log::add(memory_event e) {
    for (const token_ref & t : e.taken_back) {
        std::vector<uint32_t> & gone = taken_back_[t.ubatch];
        const auto              at   = std::lower_bound(gone.begin(), gone.end(), t.token);
        if (at == gone.end() || *at != t.token) {
            gone.insert(at, t.token);
            n_taken_back_ += 1;
        }
    }
    if (const auto why = static_cast<size_t>(e.why); why < removed_.size()) {
        removed_[why].times += 1;
        removed_[why].positions += static_cast<uint64_t>(e.n_positions());
    }
    events_.push_back(std::move(e));
}

bool memory_log::leave_out_of(routed_ubatch & u, uint64_t number, ubatch_buffer & kept) const {
    const auto gone = taken_back_.find(number);
    if (gone == taken_back_.end()) {
        return true;
    }
    u = without_tokens(u, gone->second, kept);
    return u.n_tokens() > 0;
}

span<const memory_event> memory_log::until(uint64_t ubatch, size_t & told) const {
    const size_t begin = told;
    while (told < events_.size() && events_[told].n_ubatches <= ubatch) {
        told += 1;
    }
    return {events_.data() + begin, told - begin};
}

}  // namespace moescope::trace
