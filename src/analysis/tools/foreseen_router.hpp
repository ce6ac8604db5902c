#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/block_id.hpp"
#include "gguf/moe_shape.hpp"
#include "gguf/router_weights.hpp"

namespace moescope::analysis {

// How a router turns its logits into the scores whose k largest it selects.
struct selection_rule {
    enum class function : uint8_t { none, sigmoid, softmax, softplus_root };

    function scores = function::none;  // of the logits; the selection bias comes on top
    bool     groups = false;  // only the best groups, each rated by its best two scores (arXiv:2412.19437, 2.1.2)

    bool operator==(const selection_rule & o) const { return scores == o.scores && groups == o.groups; }
};
std::string to_string(const selection_rule & r);  // "sigmoid and bias, by groups"

// The routers of a model, outside of it: which experts would a layer select of a given input? The rule of the scores is not
// looked up but found: it is the one that selects, from the inputs that a trace recorded, what the trace recorded.
class foreseen_router {
public:
    foreseen_router() = default;
    foreseen_router(std::vector<gguf::router_weights> routers, const gguf::moe_shape & shape);

    bool empty() const { return routers_.empty(); }
    // Whether the layer's router takes inputs of that width for that many experts.
    bool has(int32_t layer, uint32_t n_embd, uint32_t n_expert) const;

    // Counts which rules select ids[k] (in any order) of the layer's own input; decide() then takes the best for all layers.
    void           learn(int32_t layer, const float * input, const std::vector<uint32_t> & ids);
    void           decide();
    uint64_t       learned() const { return n_learned_; }  // rows so far
    selection_rule rule() const { return rule_; }

    // The n best experts of the input, best first; of equals the lower id.
    void rank(int32_t layer, const float * input, size_t n, std::vector<uint32_t> & out);

private:
    void compute_logits(const gguf::router_weights & r, const float * input);
    void compute_scores(const gguf::router_weights & r, const selection_rule & rule);
    void mask_groups();
    void take_best(size_t n, std::vector<uint32_t> & out);

    std::map<int32_t, gguf::router_weights> routers_;
    uint32_t                                n_group_ = 0, n_group_used_ = 0;
    std::vector<selection_rule>             rules_;  // that may hold
    std::vector<uint64_t>                   right_;  // [rule] ids that it selected as recorded
    uint64_t                                n_learned_ = 0;
    selection_rule                          rule_;
    std::vector<float>                      logits_, scores_;
    std::vector<uint32_t>                   found_;
};

}  // namespace moescope::analysis
