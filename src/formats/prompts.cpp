#include "formats/prompts.hpp"

#include <unordered_map>

namespace moescope::formats {

namespace {

// Where a sequence stands.
struct sequence_state {
    size_t  prompt   = 0;      // index of its latest
    int32_t pos      = -1;     // of its latest token
    bool    prefills = false;  // the latest token belongs to a prompt
};

}  // namespace

std::vector<prompt> find_prompts(trace::trace_source & source) {
    std::vector<prompt>                         prompts;
    std::unordered_map<int32_t, sequence_state> sequences;
    uint64_t                                    index = 0;

    source.rewind();
    for (routed_ubatch u; source.next(u); ++index) {
        for (uint32_t t = 0; t < u.n_tokens(); ++t) {
            sequence_state & s = sequences[u.seq[t]];
            if (u.phases[t] == static_cast<uint8_t>(phase::decode)) {
                s.prefills = false;
                continue;
            }
            const bool follows = s.prefills && (u.pos[t] < 0 || u.pos[t] == s.pos + 1);
            if (!follows) {
                s.prompt = prompts.size();
                prompts.emplace_back();
                prompts.back().ubatch   = index;
                prompts.back().sequence = u.seq[t];
            }
            s.prefills = true;
            s.pos      = u.pos[t];

            prompt & p = prompts[s.prompt];
            p.n_tokens += 1;
            if (const std::string * piece = source.piece(u.token[t])) {
                p.text += *piece;
            } else {
                p.complete = false;
            }
        }
    }
    return prompts;
}

}  // namespace moescope::formats
