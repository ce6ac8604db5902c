#pragma once

#include <unordered_map>
#include <unordered_set>

#include "capture/ggml_api.hpp"

namespace moescope::capture {

// Where the output of a MoE block joins the residual stream.
struct residual_join {
    ggml_tensor * before = nullptr;  // [n_embd, n] the stream in front of the block; null: it was not found
    ggml_tensor * after  = nullptr;  // [n_embd, n] the same plus the block's output
    int           node   = -1;       // index in the graph of `after`
    float         scale  = 1;        // by which the block's output is multiplied on the way (Granite)
    bool          linear = true;     // nothing but sums and that factor lies on the way: no norm behind the experts
};

// Follows what is computed of a block's expert outputs until it is added to something that the experts' own input was
// computed from: that is the residual stream. Shared experts and attention in parallel are added on the way; they are no
// ancestors of the input.
class residual_path {
public:
    explicit residual_path(const ggml_api & api) : api_(api) {}

    // A block begins: `input` is what its experts read, `output` what they give (gated, where the output is).
    void begin(const ggml_tensor * input, const ggml_tensor * output);
    // The next node in execution order. Whether it is where the block's output joins.
    bool visit(ggml_tensor * t, int index);

    const residual_join & join() const { return join_; }

private:
    struct contribution {
        float scale;
        bool  linear;
    };
    void         find_ancestors(const ggml_tensor * input);
    contribution of_node(const ggml_tensor * t) const;
    bool         joins(ggml_tensor * t, int index, contribution c);

    const ggml_api &                                      api_;
    std::unordered_set<const ggml_tensor *>               ancestors_;
    std::unordered_map<const ggml_tensor *, contribution> parts_;  // computed of the block's output
    residual_join                                         join_;
    bool                                                  following_ = false;
};

}  // namespace moescope::capture
