#pragma once

#include <string>
#include <vector>

namespace moescope::make_model {

// How an architecture that can be planted turns router logits into gate weights, and what its experts compute.
struct planted_family {
    enum class router_kind {
        softmax,                // probabilities as they are
        softmax_normalised,     // … divided by the sum over the selected
        softmax_over_selected,  // top-k of the logits, softmax among these
        sigmoid_biased,         // top-k of sigmoid + bias; weights are the sigmoids, divided by their sum
    };
    const char * arch;
    router_kind  router;
    bool         has_biases;  // router and expert biases, and the clamped SwiGLU of gpt-oss
    const char * ffn_norm;    // the norm in front of the router
};

const std::vector<planted_family> & planted_families();

// Throws moescope::error naming those that exist.
const planted_family & planted_family_of(const std::string & arch);

}  // namespace moescope::make_model
