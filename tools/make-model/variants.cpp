#include "make-model/variants.hpp"

#include "core/error.hpp"

namespace moescope::make_model {
namespace {

// n_expert, top-k of an architecture, everything else its own choice.
random_options plain(const char * arch, uint32_t n_expert = 8, uint32_t n_expert_used = 3) {
    random_options o;
    o.shape.arch          = arch;
    o.shape.n_expert      = n_expert;
    o.shape.n_expert_used = n_expert_used;
    return o;
}

// Options of plain(…) changed by the function.
template <class F>
random_options with(random_options o, F && change) {
    change(o);
    return o;
}

random_options grouped(const char * arch) {
    return with(plain(arch, 16, 4), [](random_options & o) {
        o.shape.n_expert_groups      = 4;
        o.shape.n_expert_groups_used = 2;
    });
}

random_options with_mtp(const char * arch) {
    return with(plain(arch), [](random_options & o) { o.shape.n_layer_nextn = 1; });
}

random_options typed(const char * arch, ggml_type type) {
    return with(plain(arch), [type](random_options & o) { o.type = type; });
}

std::vector<variant> make_variants() {
    std::vector<variant> v = {
        {"groups-deepseek2", "4 groups of 4 experts, 2 groups per token", grouped("deepseek2")},
        {"groups-bailingmoe2", "4 groups of 4 experts, 2 groups per token, bias on the selection",
         grouped("bailingmoe2")},
        {"groups-glm4moe", "4 groups of 4 experts, 2 groups per token", grouped("glm4moe")},
        {"hash-deepseek4", "2 leading layers whose experts are looked up by token id",
         with(plain("deepseek4"), [](random_options & o) { o.shape.n_hash_layers = 2; })},
        {"grovemoe-pairs", "adjugate experts shared by 2 experts each",
         with(plain("grovemoe"), [](random_options & o) { o.shape.n_experts_per_group = 2; })},
        {"nemotron-h-moe", "feed-forward layers of their own, no gate matrix", plain("nemotron_h_moe")},
        {"nemotron-h-moe-per-layer", "top-k differs between layers",
         with(plain("nemotron_h_moe"),
              [](random_options & o) {
                  o.shape.n_expert_used_per_layer = {3, 3, 2, 4};
              })},
        {"gemma4", "a dense feed-forward block beside the experts, its own router norm", plain("gemma4")},
        {"gemma4-fused", "gate and up experts in one tensor",
         with(plain("gemma4"), [](random_options & o) { o.layout.fused_gate_up = true; })},
        {"qwen3next-fused", "gate and up experts in one tensor",
         with(plain("qwen3next"), [](random_options & o) { o.layout.fused_gate_up = true; })},
        {"qwen3moe-128x4", "128 experts, top-4",
         with(plain("qwen3moe", 128, 4), [](random_options & o) { o.shape.n_embd = 128; })},
        {"qwen3next-512x10", "512 experts, top-10, a shared expert",
         with(plain("qwen3next", 512, 10),
              [](random_options & o) {
                  o.shape.n_embd   = 128;
                  o.shape.n_ff_exp = 32;
                  o.shape.n_layer  = 2;
              })},
        {"mixtral", "the llama architecture with 8 experts, top-2", plain("llama", 8, 2)},
        {"gpt-oss-biases", "all optional biases",
         with(plain("gpt-oss"), [](random_options & o) { o.layout.biases = true; })},
        {"qwen3moe-biases", "all optional biases",
         with(plain("qwen3moe"), [](random_options & o) { o.layout.biases = true; })},
        {"qwen3moe-scales", "a scale per expert behind each expert matrix",
         with(plain("qwen3moe"), [](random_options & o) { o.layout.scales = true; })},
        {"deepseek2-scaled", "gate weights normalised and multiplied by 2.5",
         with(plain("deepseek2"),
              [](random_options & o) {
                  o.shape.expert_weights_scale = 2.5f;
                  o.shape.expert_weights_norm  = true;
              })},
        {"deepseek2-softmax", "softmax gates, not normalised",
         with(plain("deepseek2"), [](random_options & o) { o.shape.gating = 1; })},
        {"qwen3moe-q8_0", "Q8_0 matrices", typed("qwen3moe", GGML_TYPE_Q8_0)},
        {"qwen3moe-q4_0", "Q4_0 matrices", typed("qwen3moe", GGML_TYPE_Q4_0)},
        {"qwen3moe-q4_k", "Q4_K matrices (experts of width 256)",
         with(typed("qwen3moe", GGML_TYPE_Q4_K), [](random_options & o) { o.shape.n_ff_exp = 256; })},
        {"gpt-oss-mxfp4", "MXFP4 matrices, as the published models have", typed("gpt-oss", GGML_TYPE_MXFP4)},
        {"qwen3moe-all-experts", "top-k equal to the number of experts", plain("qwen3moe", 4, 4)},
        {"qwen3moe-one-expert", "top-1", plain("qwen3moe", 8, 1)},
    };
    // Not deepseek4 and mimo2: they ask for MTP tensors (nextn.eh_proj, a fused attn_qkv) only when a file has them.
    for (const char * arch : {"bailingmoe3", "cohere2moe", "deepseek2", "deepseek32", "glm-dsa", "glm4moe", "hy_v3",
                              "nemotron_h_moe", "qwen35moe", "qwen3next", "step35"}) {
        v.push_back({std::string("mtp-") + arch, "an MTP block behind the last layer", with_mtp(arch)});
    }
    return v;
}

}  // namespace

const std::vector<variant> & variants() {
    static const std::vector<variant> table = make_variants();
    return table;
}

const variant & bench_model() {
    static const variant bench = {"bench", "4 layers of OLMoE-1B-7B's shape: 64 experts, top-8, Q4_0, over 500 MB",
                                  with(plain("olmoe", 64, 8), [](random_options & o) {
                                      o.shape.n_layer = 4;  // of 16
                                      o.shape.n_embd  = 2048;
                                      o.shape.n_ff    = 1024;  // of an expert, in this architecture
                                      o.type          = GGML_TYPE_Q4_0;
                                  })};
    return bench;
}

const variant & find_variant(const std::string & name) {
    for (const variant & v : variants()) {
        if (v.name == name) {
            return v;
        }
    }
    if (name == bench_model().name) {
        return bench_model();
    }
    throw usage_error("no variant '" + name + "'").fix("make-model --list-variants names them");
}

}  // namespace moescope::make_model
