#pragma once

// A model pruned into a file, and the same model under a mask that omits what the file lacks: both on the same ubatches.

#include "capture/session.hpp"
#include "core/expert_mask.hpp"
#include "gguf/model_file.hpp"
#include "made_model.hpp"
#include "make-model/random_model.hpp"
#include "model_runner.hpp"
#include "prune/expert_choice.hpp"
#include "prune/plan.hpp"
#include "prune/writer.hpp"

namespace moescope::test {

struct batch_shape {
    uint32_t           n_ubatch = 10;
    int                n_prompt = 24, n_decoded = 4;
    int                n_seq = 1;
    llama_context_type type  = LLAMA_CONTEXT_TYPE_DEFAULT;
    capture::mechanism by    = capture::mechanism::probes;
    std::string        lora;
    bool               on_device = false;  // as much as llama.cpp puts there
    column_set         what      = column_set::all();
    ggml_type          cache     = GGML_TYPE_F32;  // F16 would turn the last bit of a gate into 1e-3 of a key
};

struct outcome {
    recording          rec;
    std::vector<float> outputs;       // of every token, in the order of decoding
    size_t             n_output = 0;  // of one token
};

inline llama_context_params params_for(const std::string & arch, const batch_shape & s) {
    llama_context_params p = llama_context_default_params();
    p.n_ctx                = 1024;
    p.n_batch              = 512;
    p.n_ubatch             = traits_of(arch).causal ? s.n_ubatch : 512;
    p.n_seq_max            = static_cast<uint32_t>(s.n_seq);
    p.kv_unified           = true;
    p.n_threads = p.n_threads_batch = 1;
    p.type_k = p.type_v = s.cache;
    p.flash_attn_type   = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    p.embeddings        = !traits_of(arch).has_logits;
    p.pooling_type      = LLAMA_POOLING_TYPE_NONE;
    p.ctx_type          = s.type;
    return p;
}

// One decode of n tokens of each sequence, from that position on.
inline void decode_sequences(llama_context * ctx, const std::string & arch, const batch_shape & s, int first, int n,
                             outcome & to) {
    const llama_model *       model    = llama_get_model(ctx);
    const bool                embeds   = !traits_of(arch).has_logits;
    const int                 n_hidden = s.type == LLAMA_CONTEXT_TYPE_MTP ? llama_model_n_embd_out(model) : 0;
    const int                 n_token  = n * s.n_seq;
    batch                     b(first, n_token, n_hidden);
    std::vector<llama_seq_id> seq(static_cast<size_t>(n_token));
    for (int i = 0; i < n_token; ++i) {
        const auto at = static_cast<size_t>(i);
        seq[at]       = i / n;
        b.seqs[at]    = &seq[at];
        b.pos[at]     = first + i % n;
    }
    if (const int status = llama_decode(ctx, b.view()); status != 0) {
        throw std::runtime_error("llama_decode returned " + std::to_string(status));
    }
    const int n_value = embeds ? llama_model_n_embd(model) : llama_vocab_n_tokens(llama_model_get_vocab(model));
    to.n_output       = static_cast<size_t>(n_value);
    for (int i = 0; i < n_token; ++i) {
        const float * values = embeds ? llama_get_embeddings_ith(ctx, i) : llama_get_logits_ith(ctx, i);
        check_row(values, n_value, i);
        to.outputs.insert(to.outputs.end(), values, values + n_value);
    }
}

inline model_ptr load_on(const std::string & path, const batch_shape & s) {
    llama_model_params params = llama_model_default_params();
    params.use_extra_bufts    = false;
    params.load_mtp           = s.type == LLAMA_CONTEXT_TYPE_MTP;
    params.n_gpu_layers       = s.on_device ? 999 : 0;
    model_ptr model(llama_model_load_from_file(path.c_str(), params));
    if (!model) {
        throw std::runtime_error("does not load: " + path);
    }
    return model;
}

inline outcome run_masked(const std::string & path, const std::string & arch, const expert_mask & mask,
                          const batch_shape & s) {
    outcome                  result;
    capture::capture_options options;
    options.what = s.what;
    options.by   = s.by;
    options.mask = mask;
    auto streams = capture_streams(options, [&](capture::session & session) {
        const model_ptr      model  = load_on(path, s);
        llama_context_params params = params_for(arch, s);
        session.prepare(params);
        const context_ptr ctx(llama_init_from_model(model.get(), params));
        if (!ctx) {
            throw std::runtime_error("no context");
        }
        llama_adapter_lora * adapter = s.lora.empty() ? nullptr : llama_adapter_lora_init(model.get(), s.lora.c_str());
        float                scale   = 1.0F;
        if (adapter != nullptr) {
            llama_set_adapters_lora(ctx.get(), &adapter, 1, &scale);
        }
        decode_sequences(ctx.get(), arch, s, 0, s.n_prompt, result);
        for (int i = 0; i < s.n_decoded; ++i) {
            decode_sequences(ctx.get(), arch, s, s.n_prompt + i, 1, result);
        }
    });
    if (streams.size() != 1) {
        throw std::runtime_error(std::to_string(streams.size()) + " streams");
    }
    result.rec = std::move(streams[0]);
    return result;
}

using kept_by_layer = std::map<int, std::vector<int32_t>>;

// The mask under which a model computes as if it were pruned to these experts.
inline expert_mask mask_for(const kept_by_layer & kept, uint32_t n_expert) {
    expert_mask mask;
    for (const auto & [il, ids] : kept) {
        for (int32_t e = 0; e < static_cast<int32_t>(n_expert); ++e) {
            if (!std::binary_search(ids.begin(), ids.end(), e)) {
                mask.omit(il, e);
            }
        }
    }
    return mask;
}

// About half of the experts of every layer, drawn at random and otherwise in each layer; those with the lowest numbers
// where numbers mean something (GroveMoE weighs the adjugate expert of chunk c by the probability of expert c).
inline kept_by_layer write_pruned_half(const std::string & from, const std::string & to) {
    const gguf::model_file model(from);
    prune::prune_request   request;
    const auto             shape = gguf::read_moe_shape(model.metadata());
    request.criterion            = prune::prune_criterion::random;
    request.seed                 = 3;
    request.n_keep               = prune::keep_for_ratio(shape, 0.4);
    if (shape.experts_per_chunk > 1) {
        request.criterion = prune::prune_criterion::ids;
        for (uint32_t il = 0; il < shape.n_layer; ++il) {
            for (uint32_t e = 0; e < request.n_keep; ++e) {
                request.keep_ids[static_cast<int>(il)].push_back(static_cast<int32_t>(e));
            }
        }
    }
    const prune::prune_plan plan = prune::plan_prune(model, request);
    prune::write_pruned(model, plan, {"test", "", request.seed}, to);
    kept_by_layer kept;
    for (const auto & [il, layer] : plan.layers) {
        kept[il] = layer.kept;
    }
    return kept;
}

[[noreturn]] inline void fail_at(const row & r, const std::string & what) {
    throw std::runtime_error("layer " + std::to_string(r.layer) + " block " + std::to_string(r.block) + " position " +
                             std::to_string(r.pos) + ": " + what);
}

// How near a masked run comes to the pruned file's. Sums over the experts are added up over more of them, so the last bit
// of a gate may differ. Where arithmetic goes in steps (activations that are quantised, GELU out of a table of F16), that
// bit may become a whole step, and that another selection: there the first MoE layer, which both enter with the same
// input, is held to the exact rule, and what follows to a share of rows.
struct exactness {
    bool   in_steps  = false;
    double tolerance = 1e-5;
};

// Whether the row selects the same experts with the same gates, and if not, how it differs.
inline std::string difference(const row & masked, const row & pruned, const std::vector<int32_t> & kept,
                              double tolerance) {
    for (size_t j = 0; j < masked.ids.size(); ++j) {
        const uint32_t id  = pruned.ids.at(j);
        const bool repeats = masked.layout.has(block_layout::ids_repeat);  // chunks: those that stay keep their number
        const uint32_t expected = repeats ? id : static_cast<uint32_t>(kept.at(id));
        if (masked.ids[j] != expected) {
            return "selects expert " + std::to_string(masked.ids[j]) + ", the pruned file " + std::to_string(expected);
        }
        const float g = masked.values.at(column::weights)[j], h = pruned.values.at(column::weights)[j];
        if (!(std::abs(g - h) <= tolerance * std::abs(h))) {
            return "gate " + std::to_string(g) + ", the pruned file's " + std::to_string(h);
        }
    }
    return {};
}

// Throws where outputs of too many tokens are apart: of any, or, where arithmetic goes in steps, of a twentieth. Returns how
// far the others are, relative to the largest.
inline double compare_outputs(const std::vector<float> & a, const std::vector<float> & b, size_t width, exactness how) {
    double largest = 0, farthest = 0;
    for (const float v : b) {
        largest = std::max(largest, std::abs(double(v)));
    }
    size_t n_other = 0;
    for (size_t token = 0; token < a.size() / width; ++token) {
        double far = 0;
        for (size_t i = token * width; i < (token + 1) * width; ++i) {
            far = std::max(far, std::abs(double(a[i]) - double(b.at(i))) / largest);
        }
        const bool near = far <= (how.in_steps ? 0.05 : how.tolerance);
        n_other += near ? 0 : 1;
        farthest = near ? std::max(farthest, far) : farthest;
        if (!near && !how.in_steps) {
            throw std::runtime_error("outputs of token " + std::to_string(token) + " differ by " + std::to_string(far));
        }
    }
    if (n_other > a.size() / width / 20 + 1) {
        throw std::runtime_error("outputs of " + std::to_string(n_other) + " tokens differ");
    }
    return farthest;
}

// Throws unless both are the same but for the experts' numbers. Returns how far outputs are apart, relative to the largest.
inline double compare_runs(const outcome & masked, const outcome & pruned, const kept_by_layer & kept, exactness how) {
    const auto x = masked.rec.rows(), y = pruned.rec.rows();
    if (x.size() != y.size() || x.empty()) {
        throw std::runtime_error(std::to_string(x.size()) + " rows masked, " + std::to_string(y.size()) + " pruned");
    }
    size_t n_other = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        const bool        exact = !how.in_steps || x[i].layer == x[0].layer;
        const std::string what  = difference(x[i], y[i], kept.at(x[i].layer), exact ? how.tolerance : 0.05);
        if (exact && !what.empty()) {
            fail_at(x[i], what);
        }
        n_other += what.empty() ? 0 : 1;
    }
    if (n_other > x.size() / 20) {
        throw std::runtime_error(std::to_string(n_other) + " of " + std::to_string(x.size()) + " rows differ");
    }
    return compare_outputs(masked.outputs, pruned.outputs, masked.n_output, how);
}

// That the mask does something: without it, other experts are selected.
inline size_t rows_with_omitted(const recording & rec, const expert_mask & mask) {
    size_t n = 0;
    for (const row & r : rec.rows()) {
        const auto biases = mask.biases(r.layer, 65536);
        n += std::any_of(r.ids.begin(), r.ids.end(), [&](uint32_t e) { return biases.at(e) == expert_mask::omitted; });
    }
    return n;
}

}  // namespace moescope::test
