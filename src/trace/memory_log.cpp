#include "trace/memory_log.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "trace/decode.hpp"
#include "trace/taken_back.hpp"

namespace moescope::trace {

namespace {

memory_event read_event(decoder & d) {
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
    return e;
}

}  // namespace

bool take_events_before(const chunk_list & list, uint64_t end, uint64_t ubatch, position::event_place & at,
                        std::vector<memory_event> & events) {
    at.chunk = std::max(at.chunk, list.runs().front().begin);
    while (at.chunk < end) {
        const chunk_place c = list.chunk_at(at.chunk);
        decoder           d(list.payload(c) + at.byte, c.size - at.byte, c.offset + at.byte);
        while (c.kind == chunk_kind::memory && !d.done()) {
            memory_event e = read_event(d);
            if (e.n_ubatches > ubatch) {
                return false;
            }
            events.push_back(std::move(e));
            at.byte = c.size - d.left();
        }
        at = {at.part, chunk_list::next_of(c), 0};
    }
    return true;
}

void memory_log::read_on(const chunk_list & list, const chunk_run & run, uint64_t & at) {
    at = std::max(at, run.begin);
    while (run.memory && at < run.end) {
        const chunk_place c = list.chunk_at(at);
        at                  = chunk_list::next_of(c);
        if (c.kind != chunk_kind::memory) {
            continue;
        }
        if (!list.intact(c)) {
            throw_broken(list, c.offset, "a chunk's checksum does not match");
        }
        try {
            for (decoder d(list.payload(c), c.size, c.offset); !d.done();) {
                add(read_event(d));
            }
        } catch (error & e) {
            throw_broken(list, static_cast<uint64_t>(std::max<int64_t>(e.offset(), 0)), e.reason());
        }
    }
    at = run.end;
}

void memory_log::add(const memory_event & e) {
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
}

bool memory_log::leave_out_of(routed_ubatch & u, uint64_t number, ubatch_buffer & kept) const {
    const auto gone = taken_back_.find(number);
    if (gone == taken_back_.end()) {
        return true;
    }
    u = without_tokens(u, gone->second, kept);
    return u.n_tokens() > 0;
}

}  // namespace moescope::trace
