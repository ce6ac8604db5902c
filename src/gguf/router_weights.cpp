#include "gguf/router_weights.hpp"

#include <cstring>
#include <string>

#include <fmt/format.h>

#include "core/error.hpp"

namespace moescope::gguf {

namespace {

std::vector<float> read_floats(const model_file & model, const model_file::tensor & t) {
    const model_file::part & part = model.parts()[t.part];
    std::vector<char>        bytes(t.size);
    part.file.read_at(part.header.data_begin + t.offset, bytes.data(), bytes.size());
    std::vector<float> values(static_cast<size_t>(t.ne[0] * t.ne[1] * t.ne[2] * t.ne[3]));
    if (t.type == GGML_TYPE_F32) {
        std::memcpy(values.data(), bytes.data(), bytes.size());
        return values;
    }
    const ggml_type_traits * traits = ggml_get_type_traits(t.type);
    if (traits == nullptr || traits->to_float == nullptr) {
        throw error(
            fmt::format("'{}' is of type {}, which ggml does not turn into numbers", t.name, ggml_type_name(t.type)))
            .in(part.file.path());
    }
    traits->to_float(bytes.data(), values.data(), static_cast<int64_t>(values.size()));
    return values;
}

// One number for each expert; empty where the model has no such tensor.
std::vector<float> read_per_expert(const model_file & model, const std::string & name, uint32_t n_expert) {
    const model_file::tensor * t = model.find(name);
    if (t == nullptr) {
        return {};
    }
    std::vector<float> values = read_floats(model, *t);
    if (values.size() != n_expert) {
        throw error(fmt::format("'{}' has {} numbers for {} experts", name, values.size(), n_expert)).in(model.path());
    }
    return values;
}

}  // namespace

std::vector<router_weights> read_routers(const model_file & model) {
    std::vector<router_weights> routers;
    const uint64_t              n_layer = read_moe_shape(model.metadata()).n_layer;
    for (uint64_t il = 0; il < n_layer; ++il) {
        const std::string          prefix = "blk." + std::to_string(il) + ".";
        const model_file::tensor * t      = model.find(prefix + "ffn_gate_inp.weight");
        if (t == nullptr) {
            continue;
        }
        router_weights r;
        r.layer          = static_cast<int32_t>(il);
        r.n_embd         = static_cast<uint32_t>(t->ne[0]);
        r.n_expert       = static_cast<uint32_t>(t->ne[1]);
        r.rows           = read_floats(model, *t);
        r.bias           = read_per_expert(model, prefix + "ffn_gate_inp.bias", r.n_expert);
        r.selection_bias = read_per_expert(model, prefix + "exp_probs_b.bias", r.n_expert);
        routers.push_back(std::move(r));
    }
    return routers;
}

}  // namespace moescope::gguf
