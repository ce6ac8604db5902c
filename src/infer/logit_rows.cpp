#include "infer/logit_rows.hpp"

#include "core/error.hpp"

namespace moescope::infer {

logit_rows::logit_rows(const std::string & text) {
    const std::string sample = "sample:";
    if (text == "all") {
        return;
    }
    if (text == "requested") {
        kind_ = kind::requested;
        return;
    }
    const std::string digits = text.rfind(sample, 0) == 0 ? text.substr(sample.size()) : "";
    if (digits.empty() || digits.size() > 9 || digits.find_first_not_of("0123456789") != std::string::npos ||
        std::stoull(digits) == 0) {
        throw usage_error("--last-layer takes all, sample:N with N of at least 1, or requested, not '" + text + "'");
    }
    kind_ = kind::sample;
    n_    = std::stoull(digits);
}

bool logit_rows::wants(uint64_t i, uint64_t n) const {
    if (i + 1 == n || kind_ == kind::all) {
        return true;
    }
    if (kind_ == kind::requested || n == 0) {
        return false;
    }
    return n_ >= n || (i + 1) * n_ / n != i * n_ / n;
}

std::string logit_rows::text() const {
    return kind_ == kind::all ? "all" : kind_ == kind::requested ? "requested" : "sample:" + std::to_string(n_);
}

}  // namespace moescope::infer
