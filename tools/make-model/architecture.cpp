#include "make-model/architecture.hpp"

#include "core/error.hpp"
#include "llama-arch.h"  // private to llama.cpp: llm_arch_all()
#include "llama.h"
#include "make-model/child_process.hpp"
#include "make-model/gguf_file.hpp"
#include "make-model/metadata.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <regex>
#include <set>
#include <sstream>
#include <unistd.h>

namespace moescope::make_model {
namespace {

struct model_deleter {
    void operator()(llama_model * model) const { llama_model_free(model); }
};
using model_ptr = std::unique_ptr<llama_model, model_deleter>;

llama_model_params cpu_only() {
    static ggml_backend_dev_t no_device[] = {nullptr};
    llama_model_params        params      = llama_model_default_params();
    params.devices                        = no_device;
    params.load_mtp                       = true;
    params.progress_callback              = [](float, void *) { return true; };
    return params;
}

std::vector<tensor_spec> parse_tensors(const std::string & lines) {
    std::vector<tensor_spec> tensors;
    std::set<std::string>    seen;  // a tied output tensor is created twice under one name
    std::istringstream       in(lines);
    tensor_spec              spec;
    int                      type = 0;
    while (in >> spec.name >> type >> spec.ne[0] >> spec.ne[1] >> spec.ne[2] >> spec.ne[3]) {
        // Without a file llama.cpp creates every tensor as F32; the table of a hash-routed layer holds expert ids.
        spec.type = spec.contains("tid2eid") ? GGML_TYPE_I32 : static_cast<ggml_type>(type);
        if (seen.insert(spec.name).second) {
            tensors.push_back(spec);
        }
    }
    return tensors;
}

struct probe_result {
    std::vector<tensor_spec> tensors;
    std::string              error;
};

std::string temporary_path() {
    static int counter = 0;
    return (std::filesystem::temp_directory_path() /
            ("make-model." + std::to_string(getpid()) + "." + std::to_string(counter++) + ".gguf"))
        .string();
}

// Every tensor, required or optional, that llama.cpp creates for the metadata.
probe_result probe_tensors(const gguf_context * kv) {
    const std::string path = temporary_path();
    gguf_write_to_file(kv, path.c_str(), true);
    const child_result child = run_program(MODEL_PROBE, path);
    std::filesystem::remove(path);
    return {parse_tensors(child.output), child.error};
}

// What llama.cpp says when it loads the layout from a file; empty when it accepts it.
std::string judge(const model_layout & layout) {
    const std::string path = temporary_path();
    write_hollow_gguf(path, layout);
    const child_result child = run_in_child([&path](const send_fn &) {
        llama_model_params params = cpu_only();
        params.load_mode          = LLAMA_LOAD_MODE_NONE;
        params.no_alloc           = true;
        const model_ptr model(llama_model_load_from_file(path.c_str(), params));
        if (!model) {
            throw error("llama_model_load_from_file failed");
        }
    });
    std::filesystem::remove(path);
    return child.error;
}

// "missing tensor 'X'", "tensor 'X' not found" -> X; empty when the text says something else.
std::string missing_tensor(const std::string & text) {
    static const std::regex pattern("missing tensor '([^']+)'|tensor '([^']+)' not found");
    std::smatch             match;
    if (!std::regex_search(text, match, pattern)) {
        return "";
    }
    return match[1].matched ? match[1] : match[2];
}

// The name without its layer: what is required in one layer is kept in all.
std::string without_layer(const std::string & name) {
    const size_t dot = name.compare(0, 4, "blk.") == 0 ? name.find('.', 4) : std::string::npos;
    return dot == std::string::npos ? name : "blk.*" + name.substr(dot);
}

// Left out of a model unless llama.cpp insists or the options ask for it.
bool is_extra(const tensor_spec & tensor, const layout_options & options) {
    if (tensor.is(".scale") || tensor.is(".input_scale")) {
        return !options.scales;
    }
    const bool linear = tensor.contains("attn_") || tensor.contains("ffn_") || tensor.is("output.bias");
    return tensor.is(".bias") && linear && !options.biases;
}

std::vector<tensor_spec> split_gate_up(const tensor_spec & fused) {
    tensor_spec  gate = fused, up = fused;
    const size_t at = fused.name.find("gate_up");
    gate.name.replace(at, 7, "gate");
    up.name.replace(at, 7, "up");
    gate.ne[1] = up.ne[1] = fused.ne[1] / 2;
    return {gate, up};
}

// The tensors of a model that keeps, of the extras, the classes named in `needed`.
std::vector<tensor_spec> choose(const std::vector<tensor_spec> & all, const layout_options & options,
                                const std::set<std::string> & needed) {
    std::vector<tensor_spec> chosen;
    for (const tensor_spec & tensor : all) {
        const bool insisted = needed.count(without_layer(tensor.name)) > 0;
        if (tensor.contains("ffn_gate_up_exps.weight") && !options.fused_gate_up && !insisted) {
            for (tensor_spec & part : split_gate_up(tensor)) {
                chosen.push_back(std::move(part));
            }
        } else if (insisted || !is_extra(tensor, options)) {
            chosen.push_back(tensor);
        }
    }
    return chosen;
}

}  // namespace

model_layout make_layout(const model_shape & shape, const layout_options & options) {
    const model_shape  s      = complete(shape);
    model_layout       layout = {s.arch, make_metadata(s), {}};
    const probe_result probe  = probe_tensors(layout.kv.get());
    if (!probe.error.empty()) {
        throw error("llama.cpp refuses this shape of " + s.arch + ": " + probe.error);
    }
    std::set<std::string> needed;
    for (;;) {
        layout.tensors              = choose(probe.tensors, options, needed);
        const std::string complaint = judge(layout);
        if (complaint.empty()) {
            return layout;
        }
        const std::string missing = missing_tensor(complaint);
        if (missing.empty() || !needed.insert(without_layer(missing)).second) {
            throw error("llama.cpp refuses the file of this shape of " + s.arch + ": " + complaint);
        }
    }
}

std::vector<std::string> all_architectures() {
    std::vector<std::string> names;
    for (llm_arch arch : llm_arch_all()) {
        if (arch != LLM_ARCH_UNKNOWN) {
            names.push_back(llm_arch_name(arch));
        }
    }
    std::sort(names.begin(), names.end());
    return names;
}

const architecture_survey & survey_architectures() {
    static const architecture_survey survey = [] {
        architecture_survey result;
        for (const std::string & arch : all_architectures()) {
            model_shape shape;
            shape.arch               = arch;
            const gguf_ptr     kv    = make_metadata(complete(shape));
            const probe_result probe = probe_tensors(kv.get());
            const bool         moe   = std::any_of(probe.tensors.begin(), probe.tensors.end(), is_expert_matrix);
            if (moe) {
                result.moe.push_back(arch);
            } else if (probe.error.empty()) {
                result.dense.push_back(arch);
            } else {
                result.failed.push_back({arch, probe.error});
            }
        }
        return result;
    }();
    return survey;
}

architecture_traits traits_of(const std::string & arch) {
    architecture_traits traits;
    traits.causal        = arch != "llada-moe" && arch != "rnd1" && arch != "nomic-bert-moe";
    traits.has_logits    = arch != "llama-embed" && arch != "nomic-bert-moe";
    traits.reads_experts = arch != "refact";
    return traits;
}

std::vector<std::string> moe_architectures() {
    return survey_architectures().moe;
}

}  // namespace moescope::make_model
