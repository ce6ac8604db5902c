#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "core/routing.hpp"

namespace moescope::analysis {

// Where a token stands in its sequence.
struct token_place {
    int64_t sequence = -1;     // running number of the sequence, from 0 in order of appearance; -1: not known
    int64_t at       = -1;     // its position, as if nothing had been shifted
    bool    follows  = false;  // the sequence's token just before it was the one seen last
};

// Follows sequences through ubatches by sequence id and position. A sequence id whose position does not grow begins a new
// sequence (the context was cleared, or rolled back), unless the program shifted its positions or rejected drafts.
//
// Where tokens have no sequence ids, as in most foreign logs, only positions can tell, so nothing is taken for granted: a
// sequence goes on only with the position behind its last, anything else begins another; and where a ubatch's positions
// are not one run, it computed several sequences at once and its tokens stay unknown. Where only some lack an id, those do.
class sequence_tracker {
public:
    // [n_tokens] of u; lives until the next call.
    const std::vector<token_place> & follow(const routed_ubatch & u) {
        places_.assign(u.n_tokens(), {});
        for (const memory_event & e : u.memory) {
            change(e);
        }
        for (const int32_t seq : u.seq) {
            ids_known_ = ids_known_ || seq >= 0;
        }
        if (!ids_known_ && !is_one_run(u)) {
            last_.clear();
            return places_;
        }
        for (size_t t = 0; t < places_.size(); ++t) {
            const int32_t seq = u.seq[t], pos = u.pos[t];
            if (pos < 0 || (seq < 0 && ids_known_)) {
                continue;
            }
            auto [it, fresh] = last_.try_emplace(seq, state{});
            state & s        = it->second;
            if (fresh || pos <= s.pos || (seq < 0 && pos != s.pos + 1)) {
                s.sequence = n_++;
            } else {
                places_[t].follows = pos == s.pos + 1 && s.latest;
            }
            s.pos               = pos;
            s.latest            = true;
            places_[t].sequence = s.sequence;
            places_[t].at       = pos + s.shifted;
        }
        return places_;
    }
    uint64_t n_sequences() const { return static_cast<uint64_t>(n_); }

private:
    static bool is_one_run(const routed_ubatch & u) {
        for (uint32_t t = 1; t < u.n_tokens(); ++t) {
            if (u.pos[t] != u.pos[t - 1] + 1) {
                return false;
            }
        }
        return true;
    }
    void change(const memory_event & e) {
        for (auto & [seq, s] : last_) {
            if (!e.concerns(seq)) {
                continue;
            }
            s.shifted += s.pos - e.moved(s.pos);
            s.pos = e.moved(s.pos);
            if (e.why == memory_event::removal::rejected && e.kind == memory_event::what::remove && e.p0 >= 0 &&
                s.pos >= e.p0) {
                s.pos    = e.p0 - 1;  // the draft was handed out (trace_source::include_taken_back)
                s.latest = false;
            }
        }
    }
    struct state {
        int32_t pos      = -1;
        int64_t sequence = -1;
        int64_t shifted  = 0;      // by how much positions were lowered
        bool    latest   = false;  // the token at pos was the one seen last
    };
    std::unordered_map<int32_t, state> last_;  // by sequence id
    std::vector<token_place>           places_;
    int64_t                            n_         = 0;
    bool                               ids_known_ = false;
};

// The place of a row's token; unknown where the row's token is.
inline token_place place_of(const std::vector<token_place> & places, int32_t token) {
    return token >= 0 && static_cast<size_t>(token) < places.size() ? places[static_cast<size_t>(token)]
                                                                    : token_place{};
}

}  // namespace moescope::analysis
