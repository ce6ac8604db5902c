#include "make-model/lora.hpp"

#include "core/error.hpp"
#include "make-model/gguf_file.hpp"
#include "make-model/random_stream.hpp"

#include <cmath>

namespace moescope::make_model {
namespace {

struct base_model {
    std::string              arch;
    std::vector<tensor_spec> targets;
};

struct ggml_deleter {
    void operator()(ggml_context * ctx) const { ggml_free(ctx); }
};

base_model read_base(const std::string & path) {
    ggml_context * raw = nullptr;
    const gguf_ptr gguf(gguf_init_from_file(path.c_str(), {true, &raw}));
    if (!gguf) {
        throw error("is not a GGUF model").in(path);
    }
    const std::unique_ptr<ggml_context, ggml_deleter> ctx(raw);
    const int64_t                                     key = gguf_find_key(gguf.get(), "general.architecture");
    base_model                                        base;
    base.arch = key >= 0 ? gguf_get_val_str(gguf.get(), key) : "";
    for (ggml_tensor * t = ggml_get_first_tensor(raw); t != nullptr; t = ggml_get_next_tensor(raw, t)) {
        const tensor_spec spec = {t->name, GGML_TYPE_F32, {t->ne[0], t->ne[1], t->ne[2], t->ne[3]}};
        if (is_expert_matrix(spec) || spec.is("ffn_gate_inp.weight")) {
            base.targets.push_back(spec);
        }
    }
    if (base.targets.empty()) {
        throw error("no MoE layers: nothing for an adapter on experts to change").in(path);
    }
    return base;
}

}  // namespace

void write_lora(const std::string & path, const std::string & base_path, const lora_options & options) {
    const base_model base    = read_base(base_path);
    model_layout     adapter = {base.arch, gguf_ptr(gguf_init_empty()), {}};
    gguf_set_val_str(adapter.kv.get(), "general.architecture", base.arch.c_str());
    gguf_set_val_str(adapter.kv.get(), "general.type", "adapter");
    gguf_set_val_str(adapter.kv.get(), "adapter.type", "lora");
    gguf_set_val_f32(adapter.kv.get(), "adapter.lora.alpha", options.alpha);
    for (const tensor_spec & w : base.targets) {  // W + (alpha / rank) · B A, per expert
        adapter.tensors.push_back({w.name + ".lora_a", GGML_TYPE_F32, {w.ne[0], options.rank, w.ne[2], 1}});
        adapter.tensors.push_back({w.name + ".lora_b", GGML_TYPE_F32, {options.rank, w.ne[1], w.ne[2], 1}});
    }
    write_gguf(path, adapter, [&](const tensor_spec & tensor, int64_t row, float * values) {
        random_stream stream(options.seed, tensor.name, static_cast<uint64_t>(row));
        const double  spread = tensor.is(".lora_a") ? 1.0 / std::sqrt(tensor.ne[0]) : 0.5;
        for (int64_t i = 0; i < tensor.ne[0]; i++) {
            values[i] = static_cast<float>(stream.uniform(-spread, spread));
        }
    });
}

}  // namespace moescope::make_model
