#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace moescope {

// The router of one layer, as far as a mask must fit it.
struct router_shape {
    int32_t  layer         = 0;
    uint32_t n_expert      = 0;
    uint32_t n_expert_used = 0;              // k; 0: not known
    uint32_t n_group = 1, n_group_used = 1;  // 1: it does not choose groups of experts first
};

// What is added to the routers' scores: per layer and expert a bias, or `omitted`, with which the expert is never chosen
// and has no part in the others' gates, as if the model did not have it. The blocks of one layer share their router (trap 8
// of docs/capture.md), so a mask speaks of layers.
//
// A mask may be made before its model is known: rules may speak of every layer, or of all experts but some.
class expert_mask {
public:
    static constexpr int32_t every_layer = -1;
    static constexpr float   omitted     = -std::numeric_limits<float>::infinity();
    // What takes its place in a graph: finite, because -inf times 0 is no number, and a router may add or multiply.
    static constexpr float   never      = -1e30F;
    static constexpr float   max_bias   = 1e6F;   // and -max_bias: scores stay finite
    static constexpr int32_t max_expert = 65535;  // what an id can name in a trace
    static constexpr int32_t max_layer  = 1023;   // llama.cpp stops earlier

    // Experts first to last (inclusive) of a layer, or of every layer. Several biases of one expert add up; what is omitted
    // stays omitted. Throws usage_error for what is outside the bounds above, or not a number.
    void add(int32_t layer, int32_t first, int32_t last, float bias);
    void omit(int32_t layer, int32_t expert) { add(layer, expert, expert, omitted); }
    // All experts of the layer are omitted but these, and those that other rules of this kind keep there.
    void keep_only(int32_t layer, int32_t first, int32_t last);

    // The rules of both.
    expert_mask & operator|=(const expert_mask & other);

    bool empty() const { return biases_.empty() && only_.empty(); }

    // The bias of each expert, [n_expert], 0 where it has none; empty where no rule speaks of the layer.
    std::vector<float> biases(int32_t layer, uint32_t n_expert) const;

    // Throws usage_error, one line, where a rule names a layer or expert that is not there, and where a layer has no expert
    // left, or fewer than its router must choose. routers: one for each layer with experts.
    void check(const std::vector<router_shape> & routers) const;
    // Its parts, for who sees a model layer by layer: what concerns one layer, and that none is named that concerns the
    // caller and is not among `routers`.
    void check_router(const router_shape & r) const;
    void check_layers(const std::vector<router_shape> &          routers,
                      const std::function<bool(int32_t layer)> & concerns) const;

    // Equal rules, in any order.
    bool operator==(const expert_mask & o) const { return to_text() == o.to_text(); }
    bool operator!=(const expert_mask & o) const { return !(*this == o); }

    // As parse_expert_mask reads it, in one order whatever the rules' order was; "" for an empty mask.
    std::string to_text() const;

private:
    struct rule {
        int32_t layer, first, last;
        float   bias;
    };
    static std::string list_text(std::vector<rule> rules, bool with_bias);

    std::vector<rule> biases_, only_;
};

// "5:15,3:28-30,*:7": LAYER:EXPERT, each a number or a range, the layer also * for every layer. Omits these experts. All
// parsers throw usage_error that quotes what is wrong; `option` names who took the text.
expert_mask parse_omit(const std::string & list, const std::string & option = "--omit");
// Likewise; omits what the list does not name of the layers that it names.
expert_mask parse_only(const std::string & list, const std::string & option = "--only");
// "5:15=-2,*:0-3=0.5,7:1=-inf": experts and their biases.
expert_mask parse_router_bias(const std::string & list, const std::string & option = "--router-bias");
// "omit 5:15,3:28-30; only 4:0-7; bias 5:15=-2": any of these parts. How a mask is handed on to another process, and what
// a trace says of it.
expert_mask parse_expert_mask(const std::string & text);

}  // namespace moescope
