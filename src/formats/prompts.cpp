#include "formats/prompts.hpp"

#include <algorithm>

#include "trace/requests.hpp"

namespace moescope::formats {

std::vector<prompt> find_prompts(trace::trace_source & source) {
    std::vector<prompt>   prompts;
    trace::request_finder requests;

    source.rewind();
    for (routed_ubatch u; source.next(u);) {
        const std::vector<int64_t> & of_token = requests.follow(u);
        for (size_t i = prompts.size(); i < requests.requests().size(); ++i) {
            prompts.emplace_back();
            prompts.back().ubatch   = requests.requests()[i].ubatch;
            prompts.back().sequence = requests.requests()[i].sequence;
        }
        for (uint32_t t = 0; t < u.n_tokens(); ++t) {
            if (u.phases[t] == static_cast<uint8_t>(phase::decode)) {
                continue;
            }
            prompt & p = prompts[static_cast<size_t>(of_token[t])];
            p.n_tokens += 1;
            if (const std::string * piece = source.piece(u.token[t])) {
                p.text += *piece;
            } else {
                p.complete = false;
            }
        }
    }
    // A trace that begins in the middle of an answer has no prompt there.
    prompts.erase(std::remove_if(prompts.begin(), prompts.end(), [](const prompt & p) { return p.n_tokens == 0; }),
                  prompts.end());
    return prompts;
}

}  // namespace moescope::formats
