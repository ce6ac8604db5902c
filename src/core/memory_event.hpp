#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moescope {

// A token of a stream: the number of its ubatch in the stream, from 0, and its place in it.
struct token_ref {
    uint64_t ubatch = 0;
    uint32_t token  = 0;

    bool operator==(const token_ref & o) const { return ubatch == o.ubatch && token == o.token; }
};

// What a program did to the memory of its context (llama_memory_seq_rm and its kin), between two ubatches. Positions are
// [p0, p1), each without bound where negative; seq -1 means every sequence.
struct memory_event {
    enum class what : uint32_t {
        remove = 0,  // forget positions of seq
        copy   = 1,  // `to` has them, too, from now on
        keep   = 2,  // forget every other sequence
        shift  = 3,  // add delta to the positions
        divide = 4,  // divide the positions by delta
    };
    // Of a removal: what kind of tokens went, as far as can be told from outside. All but the first were text: computed as
    // such, and perhaps shown to somebody.
    enum class removal : uint32_t {
        none     = 0,  // not a removal
        rejected = 1,  // drafts that were verified and not accepted, or that a draft model only tried
        cut      = 2,  // the end of a text, which goes on differently: edited, begun anew, cancelled, or another prompt
        discard  = 3,  // a piece with text behind it that stays: a context shift makes room
        drop     = 4,  // a whole sequence
    };

    what    kind  = what::remove;
    int32_t seq   = -1;
    int32_t to    = -1;
    int32_t p0    = -1;
    int32_t p1    = -1;
    int32_t delta = 0;
    int32_t last  = -1;  // removal: the position that the sequence's text reached before; -1 unknown
    removal why   = removal::none;

    uint64_t               n_ubatches = 0;  // of the stream that came before
    std::vector<token_ref> taken_back;      // the tokens that are no text because of it: rejected ones, and no others

    bool concerns(int32_t sequence) const { return seq < 0 || seq == sequence; }
    bool has(int32_t pos) const { return pos >= p0 && (p1 < 0 || pos < p1); }
    // Where a position of a sequence that it concerns is afterwards, if it is shifted or divided.
    int32_t moved(int32_t pos) const {
        const bool moves = pos >= 0 && has(pos);
        return moves && kind == what::shift                  ? pos + delta
               : moves && kind == what::divide && delta != 0 ? pos / delta
                                                             : pos;
    }
    // Positions that a removal took from its sequence; 0 where not known.
    int64_t n_positions() const {
        const int64_t begin = p0 < 0 ? 0 : p0, end = p1 < 0 || p1 > last ? int64_t{last} + 1 : p1;
        return kind == what::remove && seq >= 0 && end > begin ? end - begin : 0;
    }
};

inline constexpr size_t n_removals = 5;  // kinds of removal

}  // namespace moescope
