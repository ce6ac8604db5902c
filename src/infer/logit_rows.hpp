#pragma once

#include <cstdint>
#include <string>

namespace moescope::infer {

// For which tokens of a text logits are asked. In most architectures the last layer computes only those rows
// (docs/capture.md, trap 6), so `all` keeps it whole; the others save the time of its rows and of the language head.
class logit_rows {
public:
    logit_rows() = default;  // all
    // "all", "sample:N" (N rows spread evenly over the text, and the last), "requested" (the last alone).
    // Throws usage_error naming --last-layer.
    explicit logit_rows(const std::string & text);

    bool        wants(uint64_t i, uint64_t n) const;  // row i of a text of n tokens; the last one always
    std::string text() const;

private:
    enum class kind { all, sample, requested };
    kind     kind_ = kind::all;
    uint64_t n_    = 0;
};

}  // namespace moescope::infer
