#include "capture/graph_mask.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "core/error.hpp"
#include "core/hash_table.hpp"

namespace moescope::capture {

namespace {

constexpr size_t max_mask_nodes = 4096;  // two per block, more blocks than any model has

// The router of a block, as its graph shows it.
router_shape shape_of(const moe_block & b) {
    router_shape r;
    r.layer         = b.layer;
    r.n_expert      = static_cast<uint32_t>(b.logits != nullptr ? b.logits->ne[0] : b.experts->ne[2]);
    r.n_expert_used = static_cast<uint32_t>(b.topk->ne[0]);
    if (b.group_topk != nullptr && b.group_topk->view_src != nullptr) {
        r.n_group      = static_cast<uint32_t>(b.group_topk->view_src->ne[0]);
        r.n_group_used = static_cast<uint32_t>(b.group_topk->ne[0]);
    }
    return r;
}

bool omits(const std::vector<float> & biases) {
    return std::find(biases.begin(), biases.end(), expert_mask::omitted) != biases.end();
}

// Whether t is computed from `from`, in so many steps.
bool derives_from(const ggml_tensor * t, const ggml_tensor * from, int steps) {
    if (t == nullptr || from == nullptr || steps < 0) {
        return false;
    }
    return t == from || std::any_of(std::begin(t->src), std::end(t->src),
                                    [&](const ggml_tensor * s) { return derives_from(s, from, steps - 1); });
}

std::string in_layer(const moe_block & b) {
    return "layer " + std::to_string(b.layer) + " cannot be masked: ";
}

}  // namespace

graph_mask::graph_mask(const ggml_api & api, ggml_backend_sched_t sched, expert_mask mask, kind k)
    : api_(api),
      sched_(sched),
      backends_(api, sched),
      mask_(std::move(mask)),
      kind_(k),
      finder_(api),
      added_(api, max_mask_nodes) {
    if (const char * missing = api_.missing_for_masks()) {
        failure_ = std::string("this program's llama.cpp has no function ") + missing;
    } else if (!added_) {
        failure_ = "no memory for the mask";
    }
}

void graph_mask::apply(ggml_cgraph * graph, std::optional<mtp_layers> mtp) {
    if (!failure_.empty()) {
        return;
    }
    const moe_graph found = finder_.find(graph);
    failure_              = finder_.failure();
    editing e{graph_edit(api_, graph), {}, {}, {}};
    for (int i = 0; i < api_.ggml_graph_n_nodes(graph); ++i) {
        e.index[api_.ggml_graph_nodes(graph)[i]] = i;
    }
    if (found.blocks.empty() || is_masked(e)) {
        return;
    }
    added_.reset();
    own_.clear();
    try {
        check(found, mtp);
        for (const moe_block & b : found.blocks) {
            mask_block(b, e);
        }
        failure_ = e.edit.apply();
    } catch (const std::exception & why) {
        failure_ = why.what();
    }
    if (failure_.empty()) {
        for (const auto & [from, to] : e.renamed) {
            const std::string name = from->name;
            api_.ggml_set_name(from, (name + " (unmasked)").c_str());
            api_.ggml_set_name(to, name.c_str());
        }
    }
}

// Whether the graph is one that was masked before: its nodes are in the memory that the next edit would take.
bool graph_mask::is_masked(const editing & e) const {
    return std::any_of(own_.begin(), own_.end(), [&](const ggml_tensor * t) { return e.index.count(t) != 0; });
}

// Throws where the mask does not fit the graph's layers.
void graph_mask::check(const moe_graph & found, std::optional<mtp_layers> mtp) {
    std::vector<router_shape> here;
    for (const moe_block & b : found.blocks) {
        if (b.block == 0) {
            here.push_back(shape_of(b));
            mask_.check_router(here.back());
            routers_[b.layer] = here.back();
        }
    }
    if (mtp) {  // a graph has the MTP layers or the others, never both
        const bool drafts = mtp->flag_of(here.front().layer) != 0;
        mask_.check_layers(here, [&](int32_t il) { return (mtp->flag_of(il) != 0) == drafts; });
    }
}

void graph_mask::mask_block(const moe_block & b, editing & e) {
    const router_shape       r      = shape_of(b);
    const std::vector<float> biases = mask_.biases(r.layer, r.n_expert);
    if (biases.empty() && kind_ == kind::fixed) {
        return;
    }
    const bool omitting = omits(biases) || kind_ == kind::changeable;
    if (b.selection == nullptr && omitting) {
        replace_table(b, e);
    }
    if (b.logits == nullptr) {
        throw error(in_layer(b) + "moescope does not find its router's scores");
    }
    add_bias(b.logits, b, place::logits, e);
    if (b.selection != nullptr && b.selection != b.logits && omitting) {
        ggml_tensor * chosen_by = b.probs_biased != nullptr ? b.probs_biased : b.probs;
        if (!derives_from(b.selection, chosen_by, 8)) {
            throw error(in_layer(b) + "it selects by scores that moescope does not know");
        }
        add_bias(chosen_by, b, place::selection, e);
    }
}

void graph_mask::add_bias(ggml_tensor * scores, const moe_block & b, place where, editing & e) {
    if (!e.replaced.insert(scores).second) {
        return;  // GroveMoE's two blocks share their logits
    }
    ggml_backend_t backend = b.router != nullptr ? backends_.holding(b.router) : nullptr;
    const leaf &   l       = leaf_of(b.layer, where, backend, GGML_TYPE_F32, scores->ne[0], 1);
    ggml_tensor *  sum     = api_.ggml_add(added_.memory(), scores, l.weight->tensor());
    if (backend != nullptr) {
        api_.ggml_backend_sched_set_tensor_backend(sched_, sum, backend);
    }
    replace(scores, sum, b, e);
}

// Ids that are looked up by token.
void graph_mask::replace_table(const moe_block & b, editing & e) {
    const ggml_tensor * table = api_.is(b.topk, GGML_OP_GET_ROWS) ? b.topk->src[0] : nullptr;
    if (table == nullptr || table->type != GGML_TYPE_I32 || table->buffer == nullptr) {
        throw error(in_layer(b) + "its experts are given, and not by a table");
    }
    leaf & l = leaf_of(b.layer, place::table, backends_.holding(table), GGML_TYPE_I32, table->ne[0], table->ne[1]);
    if (l.original == nullptr) {
        l.original = table;
        write(b.layer, place::table, l, mask_);
    }
    replace(b.topk, api_.ggml_get_rows(added_.memory(), l.weight->tensor(), b.topk->src[1]), b, e);
}

void graph_mask::replace(ggml_tensor * from, ggml_tensor * to, const moe_block & b, editing & e) {
    const auto at = e.index.find(from);
    if (at == e.index.end()) {
        throw error(in_layer(b) + from->name + " is no node of the graph");
    }
    own_.insert(to);
    api_.ggml_set_name(to, "moescope.masked");
    e.edit.replace(from, at->second, to);
    if (from != b.probs || from == b.logits) {  // probabilities stay what they are: only the choice by them is masked
        e.renamed.emplace_back(from, to);
    }
}

graph_mask::leaf & graph_mask::leaf_of(int32_t layer, place where, ggml_backend_t backend, ggml_type type, int64_t n0,
                                       int64_t n1) {
    leaf & l = leaves_[{layer, where}];
    if (l.weight == nullptr || l.weight->tensor()->ne[0] != n0 || l.weight->tensor()->ne[1] != n1) {
        ggml_backend_t home = backend != nullptr ? backend : backends_.cpu();
        const char *   what = where == place::logits ? "logits" : where == place::selection ? "selection" : "table";
        const auto     name = std::string("moescope.mask.") + what + "." + std::to_string(layer);
        if (home == nullptr) {
            throw error("no device has room for the mask");
        }
        l.weight = std::make_unique<own_weight>(api_, home, type, n0, n1, name.c_str());
        if (!*l.weight) {
            l.weight.reset();
            throw error("no memory for the mask where the router's weights are");
        }
        if (where != place::table) {
            write(layer, where, l, mask_);
        }
    }
    return l;
}

void graph_mask::write(int32_t layer, place where, const leaf & l, const expert_mask & mask) const {
    const uint32_t     n_expert = routers_.at(layer).n_expert;
    std::vector<float> biases   = mask.biases(layer, n_expert);
    biases.resize(n_expert);
    if (where == place::table) {
        write_table(l, biases);
        return;
    }
    for (float & b : biases) {
        b = b == expert_mask::omitted ? expert_mask::never : where == place::logits ? b : 0;
    }
    l.weight->set(biases.data());
}

void graph_mask::write_table(const leaf & l, const std::vector<float> & biases) const {
    std::vector<bool> stays;
    for (const float b : biases) {
        stays.push_back(b != expert_mask::omitted);
    }
    std::vector<int32_t> ids(static_cast<size_t>(l.original->ne[0] * l.original->ne[1]));
    api_.ggml_backend_tensor_get(l.original, ids.data(), 0, ids.size() * sizeof(int32_t));
    replace_in_table(ids, stays, static_cast<uint32_t>(l.original->ne[0]));
    l.weight->set(ids.data());
}

void graph_mask::set(const expert_mask & mask) {
    for (const auto & [layer, r] : routers_) {
        mask.check_router(r);
    }
    for (const auto & [key, l] : leaves_) {
        write(key.first, key.second, l, mask);
    }
    mask_ = mask;
}

}  // namespace moescope::capture
