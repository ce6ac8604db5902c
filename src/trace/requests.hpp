#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "core/routing.hpp"

namespace moescope::trace {

// One prompt and what was generated after it: a request of a server, a prompt of `moescope run`.
struct request {
    int32_t  sequence  = -1;  // the id under which it ran: a server's slot; ids are used again
    uint64_t ubatch    = 0;   // in which it begins, from 0
    uint32_t batch     = 0;
    uint64_t start_ns  = 0;  // of its first and of its last ubatch, since the trace began
    uint64_t end_ns    = 0;
    uint64_t reused    = 0;  // tokens in front of its first that an earlier request had left in the cache
    uint64_t prefilled = 0;  // tokens
    uint64_t decoded   = 0;  // tokens; the last generated token is usually sampled and never computed
};

// Follows requests through ubatches. A request begins where a sequence does, with the first prefilled token after decoded
// ones, or where its positions jump, unless the program shifted them or rejected drafts. A decoded token that goes back begins one,
// too: it is the last token of a prompt that the cache held (an answer is asked for once more).
class request_finder {
public:
    static constexpr int64_t none = -1;

    // [n_tokens] of u: the number of each token's request, from 0; lives until the next call. `ubatch` counts up by itself.
    const std::vector<int64_t> & follow(const routed_ubatch & u);

    const std::vector<request> & requests() const { return requests_; }  // in the order in which they begin

private:
    struct state {
        int64_t request  = none;  // its latest
        int32_t pos      = -1;    // of its latest token
        bool    prefills = false;
    };
    int64_t begin(const routed_ubatch & u, size_t t);

    std::unordered_map<int32_t, state> sequences_;
    std::vector<request>               requests_;
    std::vector<int64_t>               of_token_;
    uint64_t                           ubatches_ = 0;
};

}  // namespace moescope::trace
