#include "trace/counted_text.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "trace/taken_back.hpp"

namespace moescope::trace {

void counted_text::add(const routed_ubatch & u) {
    counts_.add(u);
    const uint64_t number = n_ubatches_++;
    if (std::find(u.phases.begin(), u.phases.end(), static_cast<uint8_t>(phase::decode)) != u.phases.end()) {
        kept_ubatch & k = kept_[number % n_kept];
        k.number        = number;
        without_tokens(u, {}, k.tokens);  // a copy of all
    }
}

void counted_text::take_back(const memory_event & e) {
    std::map<uint64_t, std::set<uint32_t>> by_ubatch;
    for (const token_ref & t : e.taken_back) {
        by_ubatch[t.ubatch].insert(t.token);
    }
    ubatch_buffer drafts;
    for (const auto & [number, tokens] : by_ubatch) {
        kept_ubatch & k = kept_[number % n_kept];
        if (k.number != number) {
            continue;
        }
        const routed_ubatch   all = k.tokens.view();
        std::vector<uint32_t> text;
        for (uint32_t t = 0; t < all.n_tokens(); ++t) {
            if (tokens.count(t) == 0) {
                text.push_back(t);
            }
        }
        counts_.subtract(without_tokens(all, text, drafts, unknown_rows::go));
        k.number = UINT64_MAX;  // said twice, it is taken back once
    }
}

}  // namespace moescope::trace
