#pragma once

#include <map>
#include <string>
#include <vector>

#include "capture/ggml_api.hpp"
#include "core/expert_mask.hpp"

namespace moescope::capture {

// The second way to mask, for programs whose calls cannot be interposed: ggml's eval callback changes computed scores in
// place before anything reads them. For one context. Nothing is shared with graph_mask but the mask: each checks the other.
class eval_mask {
public:
    eval_mask(const ggml_api & api, expert_mask mask) : api_(api), mask_(std::move(mask)) {}

    // Whether the node must be computed on its own, for the next two to be called with it.
    bool wants(const ggml_tensor * t) const;
    // Before anybody looks at the computed node, and after: logits are masked for all, what experts are chosen by for the
    // choice alone.
    void before_reading(ggml_tensor * t);
    void after_reading(ggml_tensor * t);

    // Why something is not masked, or "".
    const std::string & failure() const { return failure_; }

private:
    std::vector<float>           biases_of(const ggml_tensor * t, int32_t il);
    void                         add(ggml_tensor * t, const std::vector<float> & of_expert) const;
    void                         replace_ids(ggml_tensor * t, int32_t il);
    const std::vector<int32_t> & table_for(const ggml_tensor * table, const std::vector<float> & biases);

    const ggml_api &                                    api_;
    const expert_mask                                   mask_;
    std::map<const ggml_tensor *, std::vector<int32_t>> tables_;    // of the model -> without what is omitted
    std::map<int32_t, uint32_t>                         n_expert_;  // by layer, where scores were seen
    std::string                                         failure_;
};

}  // namespace moescope::capture
