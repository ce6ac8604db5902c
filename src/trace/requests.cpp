#include "trace/requests.hpp"

#include <algorithm>

namespace moescope::trace {

int64_t request_finder::begin(const routed_ubatch & u, size_t t) {
    request r;
    r.sequence = u.seq[t];
    r.ubatch   = ubatches_;
    r.batch    = u.batch;
    r.start_ns = u.time_ns;
    r.reused   = static_cast<uint64_t>(std::max(0, u.pos[t]));
    requests_.push_back(r);
    return static_cast<int64_t>(requests_.size()) - 1;
}

const std::vector<int64_t> & request_finder::follow(const routed_ubatch & u) {
    of_token_.assign(u.n_tokens(), none);
    for (const memory_event & e : u.memory) {
        for (auto & [seq, s] : sequences_) {
            if (e.concerns(seq)) {
                s.pos = e.why == memory_event::removal::rejected && e.has(s.pos) ? e.p0 - 1 : e.moved(s.pos);
            }
        }
    }
    for (size_t t = 0; t < of_token_.size(); ++t) {
        const bool decoded  = u.phases[t] == static_cast<uint8_t>(phase::decode);
        auto       it       = sequences_.find(u.seq[t]);
        const bool is_known = it != sequences_.end();
        if (!is_known) {
            it = sequences_.emplace(u.seq[t], state{}).first;
        }
        state &    s       = it->second;
        const bool follows = s.prefills && (u.pos[t] < 0 || u.pos[t] == s.pos + 1);
        const bool again   = is_known && decoded && !s.prefills && u.pos[t] >= 0 && u.pos[t] <= s.pos;
        if (!is_known || again || (!decoded && !follows)) {
            s.request = begin(u, t);
        }
        s.prefills = !decoded;
        s.pos      = u.pos[t];

        request & r = requests_[static_cast<size_t>(s.request)];
        r.end_ns    = u.time_ns;
        (decoded && !again ? r.decoded : r.prefilled) += 1;
        of_token_[t] = s.request;
    }
    ubatches_ += 1;
    return of_token_;
}

}  // namespace moescope::trace
