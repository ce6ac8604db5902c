#include "make-model/random_model.hpp"

#include "core/error.hpp"
#include "make-model/random_stream.hpp"

#include <cmath>
#include <numeric>
#include <strings.h>

namespace moescope::make_model {
namespace {

// Values are uniform in [mean - spread, mean + spread].
struct distribution {
    double mean, spread;
};

// Uniform values of that standard deviation.
distribution around_zero(double stdev) {
    return {0.0, stdev * std::sqrt(3.0)};
}

distribution distribution_of(const tensor_spec & t) {
    if (t.contains("rope_freqs") || t.contains("rope_factors")) {
        return {1.0, 0.0};
    }
    if (t.is("ssm_a") || t.is("ssm_a.weight")) {
        return {-1.0, 0.5};  // a state must decay
    }
    if (t.is(".bias") || t.is("_b")) {
        return {0.0, 0.1};
    }
    if (t.contains("norm") || t.is(".scale") || t.is(".input_scale") || t.is("ssm_d")) {
        return {1.0, 0.25};
    }
    if (t.contains("ffn_gate_inp")) {
        return around_zero(1.5 / std::sqrt(t.ne[0]));  // its input has been normalised: logits of deviation 1.5
    }
    if (t.is("token_embd.weight")) {
        return around_zero(1.0);
    }
    if (t.n_dims() == 1) {
        return {0.0, 0.5};
    }
    return around_zero(1.0 / std::sqrt(t.ne[0]));
}

// Hash-routed layers: the experts of a token, all different.
void fill_expert_ids(random_stream stream, int64_t n_used, int64_t n_expert, float * ids) {
    const int64_t first = static_cast<int64_t>(stream.below(n_expert));
    int64_t       step  = 1 + static_cast<int64_t>(stream.below(n_expert));
    while (std::gcd(step, n_expert) != 1) {
        step++;
    }
    for (int64_t i = 0; i < n_used; i++) {
        ids[i] = static_cast<float>((first + i * step) % n_expert);
    }
}

int64_t count_experts(const model_layout & layout) {
    for (const tensor_spec & tensor : layout.tensors) {
        if (is_expert_matrix(tensor)) {
            return tensor.ne[2];
        }
    }
    return 0;
}

bool is_quantisable(const tensor_spec & t) {
    if (!t.is(".weight") || t.n_dims() < 2 || t.type != GGML_TYPE_F32) {
        return false;
    }
    for (const char * kept : {"norm", "ffn_gate_inp", "conv", "attn_rel_b", "rope_", "ssm_", "hc_", "indexer", "sinks",
                              "per_layer", "ple_", "tid2eid", "nextn", "lerp", "time_mix", "altup", "laurel"}) {
        if (t.contains(kept)) {
            return false;
        }
    }
    return t.contains("attn_") || t.contains("ffn_") || t.is("token_embd.weight") || t.is("output.weight");
}

}  // namespace

fill_row random_weights(const model_layout & layout, uint64_t seed) {
    const int64_t n_expert = count_experts(layout);
    return [seed, n_expert](const tensor_spec & tensor, int64_t row, float * values) {
        random_stream stream(seed, tensor.name, static_cast<uint64_t>(row));
        if (tensor.contains("tid2eid")) {
            fill_expert_ids(stream, tensor.ne[0], n_expert, values);
            return;
        }
        const distribution d     = distribution_of(tensor);
        const float        low   = static_cast<float>(d.mean - d.spread);
        const float        scale = static_cast<float>(2 * d.spread * 0x1.0p-32);
        for (int64_t i = 0; i < tensor.ne[0]; i += 2) {  // two values out of each 64 random bits
            const uint64_t bits = stream.next();
            values[i]           = low + scale * static_cast<float>(static_cast<uint32_t>(bits));
            if (i + 1 < tensor.ne[0]) {
                values[i + 1] = low + scale * static_cast<float>(bits >> 32);
            }
        }
    };
}

void set_matrix_type(model_layout & layout, ggml_type type) {
    for (tensor_spec & tensor : layout.tensors) {
        if (is_quantisable(tensor) && tensor.ne[0] % ggml_blck_size(type) == 0) {
            tensor.type = type;
        }
    }
}

ggml_type parse_type(const std::string & name) {
    std::string known;
    for (int i = 0; i < GGML_TYPE_COUNT; i++) {
        const ggml_type          type   = static_cast<ggml_type>(i);
        const ggml_type_traits * traits = ggml_get_type_traits(type);
        const bool               writable =
            type == GGML_TYPE_F32 || (traits->from_float_ref != nullptr && !ggml_quantize_requires_imatrix(type));
        if (!writable || traits->type_name == nullptr) {
            continue;
        }
        if (strcasecmp(name.c_str(), traits->type_name) == 0) {
            return type;
        }
        known += std::string(known.empty() ? "" : ", ") + traits->type_name;
    }
    throw usage_error("no tensor type '" + name + "'").fix("take one of " + known);
}

void write_random_model(const std::string & path, const random_options & options) {
    model_layout layout = make_layout(options.shape, options.layout);
    set_matrix_type(layout, options.type);
    write_gguf(path, layout, random_weights(layout, options.seed));
}

}  // namespace moescope::make_model
