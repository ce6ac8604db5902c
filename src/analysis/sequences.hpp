#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "core/routing.hpp"

namespace moescope::analysis {

// Where a token stands in its sequence.
struct token_place {
    int64_t sequence = -1;      // running number of the sequence, from 0 in order of appearance; -1: not known
    bool    follows  = false;   // the sequence's token just before it was the one seen last
};

// Follows sequences through ubatches by sequence id and position. A sequence id whose position does not grow begins a new
// sequence (the context was cleared, or rolled back). Where no token of the source has a sequence id, as in foreign
// logs, all belong to one stream of sequences; where only some lack it, those stay unknown.
class sequence_tracker {
public:
    // [n_tokens] of u; lives until the next call.
    const std::vector<token_place> & follow(const routed_ubatch & u) {
        places_.assign(u.n_tokens(), {});
        for (size_t t = 0; t < places_.size(); ++t) {
            const int32_t seq = u.seq[t], pos = u.pos[t];
            ids_known_ = ids_known_ || seq >= 0;
            if (pos < 0 || (seq < 0 && ids_known_)) {
                continue;
            }
            auto [it, fresh] = last_.try_emplace(seq, state{});
            state & s        = it->second;
            if (fresh || pos <= s.pos) {
                s.sequence = n_++;
            } else {
                places_[t].follows = pos == s.pos + 1;
            }
            s.pos               = pos;
            places_[t].sequence = s.sequence;
        }
        return places_;
    }
    uint64_t n_sequences() const { return static_cast<uint64_t>(n_); }

private:
    struct state {
        int32_t pos      = -1;
        int64_t sequence = -1;
    };
    std::unordered_map<int32_t, state> last_;   // by sequence id
    std::vector<token_place>           places_;
    int64_t                            n_         = 0;
    bool                               ids_known_ = false;
};

// The place of a row's token; unknown where the row's token is.
inline token_place place_of(const std::vector<token_place> & places, int32_t token) {
    return token >= 0 && static_cast<size_t>(token) < places.size() ? places[static_cast<size_t>(token)] : token_place{};
}

}  // namespace moescope::analysis
