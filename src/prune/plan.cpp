#include "prune/plan.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.hpp"
#include "prune/expert_choice.hpp"
#include "prune/router_kind.hpp"

namespace moescope::prune {

namespace {

// Fills plan.tensors and the layers that hold experts; refuses what it cannot slice.
void find_expert_tensors(const gguf::model_file & model, prune_plan & plan) {
    std::string        unknown;
    int                n_unknown = 0;
    std::map<int, int> n_routers;
    for (size_t i = 0; i < model.tensors().size(); ++i) {
        const auto &              t      = model.tensors()[i];
        const gguf::tensor_name   name   = gguf::parse_tensor_name(t.name);
        const gguf::expert_layout layout = gguf::find_expert_layout(t, name, plan.shape);
        plan.tensors.push_back({i, name.layer, layout});
        if (layout.part == gguf::expert_part::unknown) {
            unknown += n_unknown++ < 5 ? (unknown.empty() ? "" : ", ") + t.name : "";
        } else if (layout.part != gguf::expert_part::none) {
            layer_plan & layer = plan.layers[name.layer];
            layer.layer        = name.layer;
            layer.is_mtp       = plan.shape.is_mtp(name.layer);
            n_routers[name.layer] += layout.part == gguf::expert_part::router ? 1 : 0;
        }
    }
    if (n_unknown > 0) {
        throw error(fmt::format("{} tensor{} an expert's name or shape, but cannot be sliced for {} experts: {}{}",
                                n_unknown, n_unknown == 1 ? " has" : "s have", plan.shape.n_expert, unknown,
                                n_unknown > 5 ? ", …" : ""))
            .in(model.path());
    }
    if (plan.layers.empty()) {
        throw error("no layer has experts").in(model.path());
    }
    for (const auto & [layer, n] : n_routers) {
        if (n != 1) {
            throw error(fmt::format("layer {} has experts but {} routers", layer, n)).in(model.path());
        }
    }
}

std::vector<bool> protected_in(const prune_request & request, int layer, uint32_t n_expert) {
    std::vector<bool> flags(n_expert, false);
    for (const int key : {every_layer, layer}) {
        const auto it = request.protect.find(key);
        if (it == request.protect.end()) {
            continue;
        }
        for (const int32_t id : it->second) {
            if (id < 0 || static_cast<uint32_t>(id) >= n_expert) {
                throw usage_error(fmt::format("expert {} cannot be protected: there are {}", id, n_expert));
            }
            flags[static_cast<size_t>(id)] = true;
        }
    }
    return flags;
}

std::string join_layers(const std::vector<int> & layers) {
    std::string text;
    for (const int il : layers) {
        text += (text.empty() ? "" : ", ") + std::to_string(il);
    }
    return (layers.size() == 1 ? "layer " : "layers ") + text;
}

// Layers that nothing is known about. An MTP block only drafts, so any choice is safe there; elsewhere there is none.
std::vector<int> uncovered_layers(const prune_plan & plan, const std::map<int, std::vector<double>> & known, bool mtp) {
    std::vector<int> layers;
    for (const auto & [il, layer] : plan.layers) {
        if (layer.is_mtp == mtp && known.count(il) == 0) {
            layers.push_back(il);
        }
    }
    return layers;
}

void check_scores(const prune_plan & plan, const std::map<int, std::vector<double>> & scores,
                  const std::string & source) {
    const auto missing = uncovered_layers(plan, scores, false);
    if (!missing.empty()) {
        throw error(fmt::format("there is nothing about {}", join_layers(missing)))
            .in(source)
            .fix("every layer must keep the same number of experts, so all of them need scores");
    }
    for (const auto & [il, layer] : plan.layers) {
        const auto it = scores.find(il);
        if (it == scores.end()) {
            continue;
        }
        if (it->second.size() != plan.shape.n_expert) {
            throw error(fmt::format("layer {} has {} experts here, but {} in the model", il, it->second.size(),
                                    plan.shape.n_expert))
                .in(source)
                .fix("these are the statistics of another model");
        }
        if (!std::all_of(it->second.begin(), it->second.end(), [](double s) { return std::isfinite(s); })) {
            throw error(fmt::format("layer {} has a score that is not finite", il)).in(source);
        }
    }
}

void check_protected_layers(const prune_plan & plan, const prune_request & request) {
    for (const auto & [il, ids] : request.protect) {
        if (il != every_layer && plan.layers.count(il) == 0) {
            throw usage_error(fmt::format("layer {} has no experts to protect", il));
        }
    }
}

void choose_by_scores(prune_plan & plan, const prune_request & request) {
    const bool is_random = request.criterion == prune_criterion::random;
    if (!is_random) {
        check_scores(plan, request.scores.layers, request.scores.source);
    }
    for (auto & [il, layer] : plan.layers) {
        const auto it     = request.scores.layers.find(il);
        const bool scored = !is_random && it != request.scores.layers.end();
        const auto scores = scored ? it->second : random_scores(request.seed, il, plan.shape.n_expert);
        layer.kept = choose_experts(plan.shape, plan.n_keep, scores, protected_in(request, il, plan.shape.n_expert));
    }
    const auto blind = is_random ? std::vector<int>{} : uncovered_layers(plan, request.scores.layers, true);
    if (!blind.empty()) {
        plan.warnings.push_back(fmt::format("there are no scores for {} (MTP), so experts were drawn at random; drafts "
                                            "may be accepted less often, but the text does not change",
                                            join_layers(blind)));
    }
}

void choose_by_ids(prune_plan & plan, const prune_request & request) {
    std::vector<int> blind;
    for (const auto & [il, ids] : request.keep_ids) {
        if (plan.layers.count(il) == 0) {
            throw error(fmt::format("layer {} has no experts", il));
        }
        if (ids.size() != plan.n_keep) {
            throw error(fmt::format("layer {} keeps {} experts, but layer {} keeps {}", il, ids.size(),
                                    request.keep_ids.begin()->first, plan.n_keep))
                .fix("llama.cpp reads one expert_count for all layers");
        }
    }
    for (auto & [il, layer] : plan.layers) {
        const auto it = request.keep_ids.find(il);
        if (it == request.keep_ids.end() && !layer.is_mtp) {
            throw error(fmt::format("the id file says nothing about layer {}", il));
        }
        if (it == request.keep_ids.end()) {
            blind.push_back(il);
            layer.kept = choose_experts(plan.shape, plan.n_keep, random_scores(request.seed, il, plan.shape.n_expert),
                                        protected_in(request, il, plan.shape.n_expert));
            continue;
        }
        check_chosen_ids(plan.shape, it->second, il);
        layer.kept = it->second;
        std::sort(layer.kept.begin(), layer.kept.end());
        const auto wanted = protected_in(request, il, plan.shape.n_expert);
        for (uint32_t e = 0; e < plan.shape.n_expert; ++e) {
            if (wanted[e] && !std::binary_search(layer.kept.begin(), layer.kept.end(), static_cast<int32_t>(e))) {
                throw usage_error(fmt::format("expert {} of layer {} is protected, but the id file drops it", e, il));
            }
        }
    }
    if (!blind.empty()) {
        plan.warnings.push_back(
            fmt::format("the id file has nothing for {} (MTP), so experts were drawn at random", join_layers(blind)));
    }
}

uint64_t bytes_after(const gguf::tensor_info & t, const gguf::expert_layout & layout, const gguf::moe_shape & shape,
                     uint32_t n_keep) {
    if (layout.n_slab == 0) {
        return t.size;
    }
    const uint64_t n_slab = static_cast<uint64_t>(layout.n_slab);
    const uint64_t keep   = layout.part == gguf::expert_part::chunk_matrix ? n_keep / shape.experts_per_chunk : n_keep;
    return t.size / n_slab * keep;
}

void add_sizes(const gguf::model_file & model, prune_plan & plan) {
    for (const tensor_plan & tp : plan.tensors) {
        const auto &   t     = model.tensors()[tp.tensor];
        const uint64_t after = bytes_after(t, tp.layout, plan.shape, plan.n_keep);
        plan.bytes_before += t.size;
        plan.bytes_after += after;
        if (tp.layout.part != gguf::expert_part::none) {
            plan.layers[tp.layer].bytes_before += t.size;
            plan.layers[tp.layer].bytes_after += after;
        }
    }
}

bool on_cuda_fast_path(uint32_t n) {
    return (n <= 512 && (n & (n - 1)) == 0) || n == 288 || n == 576;
}  // topk-moe.cu

void add_warnings(const gguf::model_file & model, prune_plan & plan) {
    const gguf::moe_shape & shape = plan.shape;
    if (plan.n_keep == shape.n_expert) {
        return;  // nothing goes
    }
    if (on_cuda_fast_path(shape.n_expert) && !on_cuda_fast_path(plan.n_keep)) {
        plan.warnings.push_back(
            fmt::format("llama.cpp's CUDA backend has a fast path for routing among a power of two of experts (or "
                        "288, 576), but not among {}",
                        plan.n_keep));
    }
    if (find_router_effect(model.metadata(), shape.arch) == router_effect::scales_gates) {
        plan.warnings.push_back(
            "this router's gates are a softmax over all experts: with fewer experts, the remaining gates "
            "grow, even for tokens that lose none of their experts");
    }
    bool has_bias = false, has_table = false;
    for (const tensor_plan & tp : plan.tensors) {
        const std::string base = gguf::parse_tensor_name(model.tensors()[tp.tensor].name).base;
        has_bias               = has_bias || base == "exp_probs_b";
        has_table              = has_table || tp.layout.part == gguf::expert_part::hash_table;
    }
    if (adds_bias_to_softmax(model.metadata(), shape.arch, has_bias)) {
        plan.warnings.push_back(
            "this router adds a bias to softmax probabilities, which grow when experts are removed: it may "
            "select differently even among those that stay");
    }
    if (shape.experts_per_chunk > 1) {
        plan.warnings.push_back(
            "llama.cpp weighs the adjugate expert of chunk c by the probability of expert c: the new "
            "numbers change these weights, even for tokens that lose none of their experts");
    }
    if (has_table) {
        plan.warnings.push_back(
            "layers that route by token id send the tokens of a removed expert to the others in turn");
    }
}

}  // namespace

uint32_t keep_for_ratio(const gguf::moe_shape & shape, double ratio) {
    const auto     n    = static_cast<uint32_t>(std::ceil((1.0 - ratio) * shape.n_expert - 1e-9));
    const uint32_t step = expert_count_step(shape);
    return (n + step - 1) / step * step;
}

prune_plan plan_prune(const gguf::model_file & model, const prune_request & request) {
    prune_plan plan;
    plan.shape  = gguf::read_moe_shape(model.metadata());
    plan.n_keep = request.n_keep;
    if (request.criterion == prune_criterion::ids) {
        plan.n_keep = request.keep_ids.empty() ? 0 : static_cast<uint32_t>(request.keep_ids.begin()->second.size());
    }
    try {
        check_expert_count(plan.shape, plan.n_keep);
    } catch (error & e) {
        throw e.in(model.path());
    }
    find_expert_tensors(model, plan);
    check_protected_layers(plan, request);
    if (request.criterion == prune_criterion::ids) {
        choose_by_ids(plan, request);
    } else {
        choose_by_scores(plan, request);
    }
    add_sizes(model, plan);
    add_warnings(model, plan);
    return plan;
}

}  // namespace moescope::prune
