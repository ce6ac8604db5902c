#include "analysis/tools/labelled_requests.hpp"

#include "analysis/tools/prompt_labels.hpp"

namespace moescope::analysis {

labelled_requests::labelled_requests(const trace::trace_source & source)
    : labels_(prompt_labels(source.info().notes)) {}

void labelled_requests::follow(const routed_ubatch & u) {
    of_token_ = finder_.follow(u);
    for (size_t t = 0; t < of_token_.size(); ++t) {
        if (u.seq[t] < 0 && u.pos[t] < 0) {
            of_token_[t] = -1;  // a log of another tool that says neither
        }
    }
}

const std::string & labelled_requests::label_of(int64_t request) const {
    static const std::string none;
    return request < 0 || static_cast<size_t>(request) >= labels_.size() ? none : labels_[static_cast<size_t>(request)];
}

}  // namespace moescope::analysis
