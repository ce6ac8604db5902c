#include "capture/eval_mask.hpp"

#include <algorithm>
#include <cmath>

#include "capture/moe_graph.hpp"
#include "capture/node_name.hpp"
#include "core/error.hpp"
#include "core/hash_table.hpp"

namespace moescope::capture {

namespace {

// Below every probability, and as good as none where one is read by its number (GroveMoE's second block).
constexpr float less_than_none = -1e-30F;

bool is_activation(const ggml_api & api, const ggml_tensor * t) {
    return api.is(t, GGML_OP_SOFT_MAX) || api.is(t, GGML_OP_UNARY) || api.is(t, GGML_OP_SQRT);
}

// The router's scores; one that has a bias of its own has them twice, and the first are enough.
bool are_logits(const ggml_api & api, const ggml_tensor * t) {
    const node_name name(t->name);
    if (name.is("ffn_moe_logits")) {
        return true;
    }
    const bool seen = t->src[0] != nullptr && node_name(t->src[0]->name).is("ffn_moe_logits");
    return name.is("ffn_moe_probs") && !is_activation(api, t) && !seen;
}

bool are_looked_up(const ggml_api & api, const ggml_tensor * t) {
    return node_name(t->name).is("ffn_moe_topk") && api.is(t, GGML_OP_GET_ROWS) && t->type == GGML_TYPE_I32;
}

bool is_chosen_by(const ggml_api & api, const ggml_tensor * t) {
    const node_name name(t->name);
    return name.is("ffn_moe_probs_biased") || (name.is("ffn_moe_probs") && is_activation(api, t));
}

}  // namespace

bool eval_mask::wants(const ggml_tensor * t) const {
    return failure_.empty() && !mask_.empty() &&
           (are_logits(api_, t) || is_chosen_by(api_, t) || node_name(t->name).is("ffn_moe_topk"));
}

void eval_mask::before_reading(ggml_tensor * t) {
    const int32_t il = node_name(t->name).il;
    try {
        if (!failure_.empty()) {
            return;
        }
        if (node_name(t->name).is("ffn_moe_topk") && n_expert_.count(il) != 0) {
            mask_.check_router({il, n_expert_.at(il), static_cast<uint32_t>(t->ne[0])});
        }
        if (are_looked_up(api_, t)) {
            replace_ids(t, il);
        } else if (are_logits(api_, t)) {
            std::vector<float> biases = biases_of(t, il);
            std::replace(biases.begin(), biases.end(), expert_mask::omitted, expert_mask::never);
            add(t, biases);
        }
    } catch (const std::exception & e) {
        failure_ = e.what();
    }
}

void eval_mask::after_reading(ggml_tensor * t) {
    if (!failure_.empty() || !is_chosen_by(api_, t)) {
        return;
    }
    const node_name    name(t->name);
    const float        gone   = name.is("ffn_moe_probs") ? less_than_none : expert_mask::never;
    std::vector<float> biases = mask_.biases(name.il, static_cast<uint32_t>(t->ne[0]));
    for (float & b : biases) {
        b = b == expert_mask::omitted ? gone : 0;
    }
    if (std::find(biases.begin(), biases.end(), gone) != biases.end()) {
        add(t, biases);
    }
}

// Throws where the mask does not fit the layer.
std::vector<float> eval_mask::biases_of(const ggml_tensor * t, int32_t il) {
    const auto n_expert = static_cast<uint32_t>(t->ne[0]);
    if (n_expert_.emplace(il, n_expert).second) {
        mask_.check_router({il, n_expert});
    }
    return mask_.biases(il, n_expert);
}

// t: [n_expert, n], dense.
void eval_mask::add(ggml_tensor * t, const std::vector<float> & of_expert) const {
    if (of_expert.empty()) {
        return;
    }
    const size_t       n_expert = of_expert.size();
    std::vector<float> scores(static_cast<size_t>(api_.ggml_nelements(t)));
    api_.ggml_backend_tensor_get(t, scores.data(), 0, scores.size() * sizeof(float));
    for (size_t i = 0; i < scores.size(); ++i) {
        scores[i] += of_expert[i % n_expert];
    }
    api_.ggml_backend_tensor_set(t, scores.data(), 0, scores.size() * sizeof(float));
}

void eval_mask::replace_ids(ggml_tensor * t, int32_t il) {
    const auto it = n_expert_.find(il);
    if (it == n_expert_.end()) {
        throw error("layer " + std::to_string(il) +
                    " cannot be masked: its experts are looked up before they are scored");
    }
    const std::vector<float> biases = mask_.biases(il, it->second);
    if (std::find(biases.begin(), biases.end(), expert_mask::omitted) == biases.end()) {
        return;
    }
    const std::vector<int32_t> & table = table_for(t->src[0], biases);
    const auto                   k     = static_cast<size_t>(t->ne[0]);
    std::vector<int32_t>         tokens(static_cast<size_t>(t->ne[1])), ids(tokens.size() * k);
    api_.ggml_backend_tensor_get(t->src[1], tokens.data(), 0, tokens.size() * sizeof(int32_t));
    for (size_t r = 0; r < tokens.size(); ++r) {
        std::copy_n(table.data() + static_cast<size_t>(tokens[r]) * k, k, ids.data() + r * k);
    }
    api_.ggml_backend_tensor_set(t, ids.data(), 0, ids.size() * sizeof(int32_t));
}

const std::vector<int32_t> & eval_mask::table_for(const ggml_tensor * table, const std::vector<float> & biases) {
    std::vector<int32_t> & ids = tables_[table];
    if (ids.empty()) {
        std::vector<bool> stays;
        for (const float b : biases) {
            stays.push_back(b != expert_mask::omitted);
        }
        ids.resize(static_cast<size_t>(table->ne[0] * table->ne[1]));
        api_.ggml_backend_tensor_get(table, ids.data(), 0, ids.size() * sizeof(int32_t));
        replace_in_table(ids, stays, static_cast<uint32_t>(table->ne[0]));
    }
    return ids;
}

}  // namespace moescope::capture
