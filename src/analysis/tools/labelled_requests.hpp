#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/routing.hpp"
#include "trace/requests.hpp"
#include "trace/source.hpp"

namespace moescope::analysis {

// Which request (trace/requests.hpp) the tokens of a source belong to, and the label that the source keeps of it.
class labelled_requests {
public:
    explicit labelled_requests(const trace::trace_source & source);

    void follow(const routed_ubatch & u);  // each ubatch once, in its order

    // Of a token of the latest ubatch; -1 where the token (-1) is not known, nor its sequence and position.
    int64_t of(int32_t token) const { return token < 0 ? -1 : of_token_[static_cast<size_t>(token)]; }

    // [n_tokens] of the latest ubatch.
    const std::vector<int64_t> & of_tokens() const { return of_token_; }

    const std::vector<std::string> & labels() const { return labels_; }  // [request]; empty as a whole: it keeps none
    const std::string &              label_of(int64_t request) const;    // "": it has none

private:
    trace::request_finder    finder_;
    std::vector<int64_t>     of_token_;
    std::vector<std::string> labels_;
};

}  // namespace moescope::analysis
