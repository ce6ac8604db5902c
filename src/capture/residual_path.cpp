#include "capture/residual_path.hpp"

#include <cstring>
#include <initializer_list>
#include <vector>

namespace moescope::capture {

namespace {

// Norms, biases and reshapes lie between the stream and the experts: a few nodes.
constexpr size_t max_ancestors = 64;

}  // namespace

void residual_path::begin(const ggml_tensor * input, const ggml_tensor * output) {
    join_ = {};
    parts_.clear();
    find_ancestors(input);
    parts_[output] = {1, true};
    following_     = true;
}

void residual_path::find_ancestors(const ggml_tensor * input) {
    ancestors_.clear();
    std::vector<const ggml_tensor *> reached = {input};
    for (size_t i = 0; i < reached.size() && reached.size() < max_ancestors; ++i) {
        for (const ggml_tensor * s : {reached[i]->src[0], reached[i]->src[1]}) {
            if (s != nullptr && !api_.is(s, GGML_OP_NONE) && ancestors_.insert(s).second) {
                reached.push_back(s);
            }
        }
    }
}

bool residual_path::visit(ggml_tensor * t, int index) {
    if (!following_) {
        return false;
    }
    bool of_block = false;
    for (const ggml_tensor * s : t->src) {
        of_block = of_block || (s != nullptr && parts_.count(s) != 0);
    }
    if (!of_block) {
        return false;
    }
    const contribution c = of_node(t);
    if (joins(t, index, c)) {
        return true;
    }
    parts_[t] = c;
    return false;
}

// How the block's output is in a node that is computed of it.
residual_path::contribution residual_path::of_node(const ggml_tensor * t) const {
    contribution c     = {1, true};
    bool         first = true;
    for (const ggml_tensor * s : t->src) {
        const auto part = s != nullptr ? parts_.find(s) : parts_.end();
        if (part == parts_.end()) {
            continue;
        }
        c.linear = c.linear && part->second.linear && (first || c.scale == part->second.scale);
        c.scale  = part->second.scale;
        first    = false;
    }
    if (api_.is(t, GGML_OP_SCALE)) {
        float factor_and_bias[2];
        std::memcpy(factor_and_bias, t->op_params, sizeof(factor_and_bias));
        c.scale *= factor_and_bias[0];
        return c;
    }
    bool keeps = false;
    for (const ggml_op op : {GGML_OP_ADD, GGML_OP_VIEW, GGML_OP_RESHAPE, GGML_OP_CONT}) {
        keeps = keeps || api_.is(t, op);
    }
    c.linear = c.linear && keeps;
    return c;
}

bool residual_path::joins(ggml_tensor * t, int index, contribution c) {
    if (!api_.is(t, GGML_OP_ADD)) {
        return false;
    }
    for (ggml_tensor * s : {t->src[0], t->src[1]}) {
        if (parts_.count(s) == 0 && ancestors_.count(s) != 0 && s->ne[0] == t->ne[0] && s->ne[1] == t->ne[1]) {
            join_      = {s, t, index, c.scale, c.linear};
            following_ = false;
            return true;
        }
    }
    return false;
}

}  // namespace moescope::capture
