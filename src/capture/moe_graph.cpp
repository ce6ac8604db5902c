#include "capture/moe_graph.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <unordered_set>

#include "capture/node_name.hpp"

namespace moescope::capture {

namespace {

bool ends_with(std::string_view s, std::string_view tail) {
    return s.size() >= tail.size() && s.substr(s.size() - tail.size()) == tail;
}

// What the activation of the router read: logits in front of softmax, sigmoid, sqrt(softplus); where there is no
// activation before the selection (softmax over the chosen k), the scores are the logits, whatever they are named.
ggml_tensor * logits_behind(const ggml_api & api, ggml_tensor * probs) {
    if (api.is(probs, GGML_OP_SOFT_MAX) || api.is(probs, GGML_OP_UNARY)) {
        return probs->src[0];
    }
    if (api.is(probs, GGML_OP_SQRT)) {
        return api.is(probs->src[0], GGML_OP_UNARY) ? probs->src[0]->src[0] : probs->src[0];
    }
    return probs;
}

float scale_factor(const ggml_tensor * scale) {
    float f;
    std::memcpy(&f, scale->op_params, sizeof(f));
    return f;
}

// Collects one graph, node by node in execution order. A block begins at its first node of the layer and is complete at
// its product of outputs and gates.
class finder {
public:
    explicit finder(const ggml_api & api) : api_(api), residual_(api) {}

    void visit(ggml_tensor * t) {
        index_.push_back(t);
        take_inputs(t);
        if (residual_.visit(t, static_cast<int>(index_.size()) - 1) && !graph_.blocks.empty()) {
            graph_.blocks.back().residual = residual_.join();
        }
        const node_name name(t->name);
        if (name.il < 0 || name.base.rfind("ffn_moe_", 0) != 0) {
            if (current_ && api_.is(t, GGML_OP_MUL_MAT_ID)) {
                take_expert_product(t);
            }
            return;
        }
        take_named(t, name);
    }

    moe_graph finish() {
        close();
        return std::move(graph_);
    }

private:
    void take_named(ggml_tensor * t, const node_name & name) {
        const std::string_view what = name.base.substr(std::strlen("ffn_moe_"));
        if (what == "logits" || what == "logits_biased") {
            pending(name.il).logits = t;
        } else if (what == "probs") {
            pending(name.il).probs = t;
        } else if (what == "probs_biased") {
            pending(name.il).probs_biased = t;
        } else if (what == "group_topk") {
            pending(name.il).group_topk = t;
        } else if (what == "topk") {
            begin(t, name.il);
        }
        if (!current_ || graph_.blocks.back().layer != name.il) {
            return;
        }
        moe_block & b = graph_.blocks.back();
        if (api_.is(t, GGML_OP_MUL_MAT_ID)) {
            take_expert_product(t);
        }
        if (what == "weights") {
            b.weights_raw = t;
            b.weights     = t;
            b.raw_node    = static_cast<int>(index_.size()) - 1;
        } else if (what == "weights_softmax" || what == "weights_norm") {
            b.own_softmax = b.own_softmax || what == "weights_softmax";
            b.weight_sum  = 1;
            b.weights     = t;
        } else if (what == "weights_scaled") {
            b.weight_sum *= scale_factor(t);
            b.weights = t;
        } else if (what == "down" || what == "down_scaled" || what == "down_biased") {
            last_down_ = t;
            residual_.begin(b.expert_input, t);  // of what is gated already; else take_weighted begins anew
        } else if (what == "weighted") {
            take_weighted(t);
        } else if (what == "out") {
            close();
        }
    }

    // Scores come before the top-k that opens the block, and GroveMoE's two blocks share them.
    struct scores {
        int32_t       il     = -1;
        ggml_tensor * logits = nullptr;
        ggml_tensor * probs = nullptr, *probs_biased = nullptr, *group_topk = nullptr;
    };
    scores & pending(int32_t il) {
        if (scores_.il != il) {
            scores_    = {};
            scores_.il = il;
        }
        return scores_;
    }

    void begin(ggml_tensor * topk, int32_t il) {
        close();
        moe_block b;
        b.layer = il;
        b.block = !graph_.blocks.empty() && graph_.blocks.back().layer == il ? graph_.blocks.back().block + 1 : 0;
        b.topk  = topk;
        const ggml_tensor * sort = topk->view_src;
        if (api_.is(sort, GGML_OP_ARGSORT)) {
            b.selection = sort->src[0];
        }
        scores & s     = pending(il);
        b.probs        = s.probs;
        b.probs_biased = s.probs_biased;
        b.group_topk   = s.group_topk;
        b.logits       = s.probs != nullptr ? logits_behind(api_, s.probs) : s.logits;
        if (const ggml_tensor * product = b.logits ? router_product(api_, b.logits) : nullptr) {
            b.router     = product->src[0];
            b.gate_input = product->src[1];
        }
        graph_.blocks.push_back(b);
        current_   = true;
        last_down_ = nullptr;
    }

    void take_expert_product(ggml_tensor * t) {
        moe_block & b = graph_.blocks.back();
        if (t->src[0] != nullptr && is_expert_weight(t->src[0])) {
            b.experts      = t->src[0];
            b.ids          = t->src[2];
            b.expert_input = b.expert_input == nullptr ? t->src[1] : b.expert_input;
        }
    }

    void take_weighted(ggml_tensor * t) {
        moe_block & b = graph_.blocks.back();
        if (!is_gated_product(api_, t)) {
            return;
        }
        b.weights      = t->src[1];
        b.gated_output = api_.is(t->src[0], GGML_OP_REPEAT);
        if (!b.gated_output) {
            b.expert_output = t->src[0];
            residual_.begin(b.expert_input, t);
        }
    }

    void close() {
        if (!current_) {
            return;
        }
        current_      = false;
        moe_block & b = graph_.blocks.back();
        if (b.expert_output == nullptr) {
            b.expert_output = last_down_;
        }
        if (b.ids == nullptr || b.experts == nullptr || b.weights == nullptr) {
            graph_.blocks.pop_back();  // not a block of experts
            return;
        }
        b.weights_node = last_index_of(root_of(b.weights), b.weights);
        b.output_node  = b.expert_output ? last_index_of(b.expert_output, nullptr) : -1;
    }

    int last_index_of(const ggml_tensor * a, const ggml_tensor * b) const {
        for (int i = static_cast<int>(index_.size()) - 1; i >= 0; --i) {
            if (index_[static_cast<size_t>(i)] == a || index_[static_cast<size_t>(i)] == b) {
                return i;
            }
        }
        return -1;
    }

    void take_inputs(ggml_tensor * t) {
        for (ggml_tensor * s : t->src) {
            if (s == nullptr || (root_of(s)->flags & GGML_TENSOR_FLAG_INPUT) == 0 ||
                !inputs_seen_.insert(root_of(s)).second) {
                continue;
            }
            graph_.inputs.push_back(root_of(s));
            if (std::strcmp(root_of(s)->name, "inp_pos") == 0) {
                graph_.pos = root_of(s);
            } else if (is_out_ids(root_of(s)->name)) {
                graph_.out_ids = root_of(s);
            }
        }
        if (graph_.out_ids == nullptr && picks_outputs_by_unnamed_list(api_, t, graph_.n_tokens)) {
            graph_.out_ids = root_of(t->src[1]);
        }
        // inp_tokens exists in graphs of embedding batches too, with garbage in it: only a row lookup that is computed
        // makes it real.
        const bool computed = api_.computes(t);
        if (computed && is_token_lookup(api_, t)) {
            graph_.tokens   = t->src[1];
            graph_.n_tokens = t->src[1]->ne[0];
        }
        if (graph_.n_tokens == 0 && computed && std::strcmp(t->name, "inp_embd") == 0) {
            graph_.n_tokens = t->ne[1];
        }
        for (const ggml_tensor * s : t->src) {
            if (graph_.n_tokens == 0 && s != nullptr && computed && std::strcmp(s->name, "inp_embd") == 0) {
                graph_.n_tokens = s->ne[1];
            }
        }
    }

    const ggml_api &                  api_;
    moe_graph                         graph_;
    std::vector<ggml_tensor *>        index_;
    std::unordered_set<ggml_tensor *> inputs_seen_;
    bool                              current_ = false;
    scores                            scores_;
    residual_path                     residual_;
    ggml_tensor *                     last_down_ = nullptr;
};

}  // namespace

bool is_expert_weight(const ggml_tensor * w) {
    const std::string_view name = w->name;
    return name.rfind("blk.", 0) == 0 && (ends_with(name, "_exps.weight") || ends_with(name, "_chexps.weight"));
}

bool is_token_lookup(const ggml_api & api, const ggml_tensor * t) {
    if (!api.is(t, GGML_OP_GET_ROWS) || t->src[1]->type != GGML_TYPE_I32) {
        return false;
    }
    const std::string_view table = node_name(t->src[0]->name).base;
    return node_name(t->src[1]->name).base == "inp_tokens" || table == "token_embd.weight" ||
           ends_with(table, "nextn.embed_tokens.weight");
}

bool is_gated_product(const ggml_api & api, const ggml_tensor * t) {
    return api.is(t, GGML_OP_MUL) && t->src[1]->ne[0] == 1;
}

bool is_out_ids(std::string_view name) {
    return name == "out_ids" || name == "inp_out_ids";
}

bool picks_outputs_by_unnamed_list(const ggml_api & api, const ggml_tensor * t, int64_t n_tokens) {
    if (n_tokens == 0 || !api.is(t, GGML_OP_GET_ROWS) || !api.computes(t)) {
        return false;
    }
    const ggml_tensor *rows = t->src[0], *list = t->src[1];
    const bool unnamed = list->name[0] == '\0' || std::strncmp(list->name, "leaf_", 5) == 0;  // as ggml numbers them
    const bool is_list = (list->flags & GGML_TENSOR_FLAG_INPUT) != 0 && list->type == GGML_TYPE_I32 && list->ne[1] == 1;
    const bool computed = !api.is(root_of(t->src[0]), GGML_OP_NONE);
    return unnamed && is_list && list->ne[0] <= n_tokens && computed && rows->type == GGML_TYPE_F32 &&
           rows->ne[1] == n_tokens;
}

const ggml_tensor * router_product(const ggml_api & api, const ggml_tensor * t) {
    for (int steps = 0; t != nullptr && steps < 8; ++steps) {
        if (api.is(t, GGML_OP_MUL_MAT) && t->src[0] != nullptr && ends_with(t->src[0]->name, "ffn_gate_inp.weight")) {
            return t;
        }
        bool passes = false;
        for (const ggml_op op :
             {GGML_OP_ADD, GGML_OP_SCALE, GGML_OP_RESHAPE, GGML_OP_VIEW, GGML_OP_CONT, GGML_OP_GET_ROWS}) {
            passes = passes || api.is(t, op);
        }
        t = passes ? t->src[0] : nullptr;
    }
    return nullptr;
}

namespace {

bool is_row_of(const ggml_tensor * t, int64_t n_embd, int64_t n_rows) {
    return t != nullptr && t->type == GGML_TYPE_F32 && t->ne[0] == n_embd && t->ne[1] == n_rows && t->ne[2] == 1 &&
           t->nb[0] == sizeof(float);
}

// Whether the outputs and the residual stream lie in memory as the product of all pairs reads them.
bool has_gram(const moe_block & b) {
    const ggml_tensor * x = b.expert_output;
    return x != nullptr && x->nb[0] == sizeof(float) && is_row_of(b.residual.before, x->ne[0], x->ne[2]) &&
           is_row_of(b.residual.after, x->ne[0], x->ne[2]);
}

}  // namespace

block_layout moe_block::layout(column_set wanted, mtp_layers mtp, uint32_t n_extra) const {
    block_layout l;
    l.layer            = layer;
    l.block            = block;
    l.n_expert         = static_cast<uint32_t>(experts->ne[2]);
    l.n_expert_used    = static_cast<uint32_t>(ids->ne[0]) - n_extra;
    l.n_embd           = gate_input ? static_cast<uint32_t>(gate_input->ne[0]) : 0;
    l.weight_sum       = weight_sum;
    const bool repeats = ids != topk;
    l.flags            = mtp.flag_of(layer) | (repeats ? block_layout::ids_repeat : 0u) |
              (gated_output ? block_layout::norms_gated : 0u) | (selection == nullptr ? block_layout::given_ids : 0u);

    column_set there = column::ids | column::weights;
    const auto offer = [&](column c, const ggml_tensor * t, int64_t width) {
        if (t != nullptr && t->ne[0] == width) {
            there = there | c;
        }
    };
    // Scores of a block that runs chunk experts speak of the experts, not of the chunks.
    const int64_t n = repeats ? -1 : static_cast<int64_t>(l.n_expert);
    offer(column::logits, logits, n);
    offer(column::probs, probs, n);
    offer(column::selection, selection, n);
    offer(column::gate_input, gate_input, l.n_embd);
    offer(column::weights_raw, weights_raw, weights_raw ? weights_raw->ne[0] : 0);
    offer(column::norms, expert_output, expert_output ? expert_output->ne[0] : 0);
    offer(column::peaks, expert_output, expert_output ? expert_output->ne[0] : 0);
    const bool next = n_extra > 0 && weights_raw != nullptr && !repeats && selection != nullptr;
    there           = next ? there | column::runner_up : there;
    there           = has_gram(*this) && (next || n_extra == 0) ? there | column::gram : there;
    l.columns       = there & wanted;
    if (l.columns.has(column::runner_up)) {
        l.flags |= (probs != nullptr && probs->op == GGML_OP_SOFT_MAX ? block_layout::softmax_of_all : 0u) |
                   (own_softmax ? block_layout::softmax_of_selected : 0u) |
                   (residual.linear ? 0u : block_layout::bent_output);
    }
    return l;
}

moe_graph find_moe(const ggml_api & api, ggml_tensor ** nodes, int n_nodes) {
    finder f(api);
    for (int i = 0; i < n_nodes; ++i) {
        f.visit(nodes[i]);
    }
    return f.finish();
}

}  // namespace moescope::capture
