// The files that make-model writes: they compute what the model in memory computes, depend on the seed alone, take an
// adapter; and what cannot be made is refused with llama.cpp's words.

#include "core/error.hpp"
#include "make-model/lora.hpp"
#include "make-model/random_model.hpp"
#include "support/made_model.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

using namespace moescope::test;

namespace {

// The output row of the last of eight tokens, and the experts chosen, with or without an adapter. In this process.
std::vector<float> last_logits(llama_model * model, const std::string & arch, const std::string & lora,
                               selections & seen) {
    const context_ptr    ctx     = make_context(model, arch, seen, LLAMA_CONTEXT_TYPE_DEFAULT);
    llama_adapter_lora * adapter = lora.empty() ? nullptr : llama_adapter_lora_init(model, lora.c_str());
    float                scale   = 1.0f;
    if (!lora.empty() && (adapter == nullptr || llama_set_adapters_lora(ctx.get(), &adapter, 1, &scale) != 0)) {
        throw std::runtime_error("the adapter does not load");
    }
    decode(ctx.get(), false, 0, 8);
    const float * row = llama_get_logits_ith(ctx.get(), 7);
    return std::vector<float>(row, row + llama_vocab_n_tokens(llama_model_get_vocab(model)));
}

TEST(lora, loads_on_its_base_and_changes_routing_and_output) {
    const scratch_folder scratch;
    const std::string    base = scratch / "base.gguf", adapter = scratch / "adapter.gguf";
    for (const char * arch : {"qwen3moe", "gpt-oss", "deepseek2"}) {
        random_options options;
        options.shape.arch = arch;
        write_random_model(base, options);
        write_lora(adapter, base);
        const std::string error =
            run_in_child([&](const send_fn &) {
                const model_ptr model = load(base);
                selections      plain, adapted;
                if (last_logits(model.get(), arch, "", plain) == last_logits(model.get(), arch, adapter, adapted)) {
                    throw std::runtime_error("the adapter changes nothing");
                }
            }).error;
        EXPECT_EQ(error, "") << arch;
    }
}

// A file that is loaded computes what the model computes that llama.cpp builds in memory from the same metadata,
// tensor types and weights.
TEST(file, computes_what_the_model_in_memory_computes) {
    const scratch_folder scratch;
    const std::string    file = scratch / "model.gguf";
    for (const char * arch : {"qwen3moe", "olmoe", "deepseek2", "nemotron_h_moe"}) {
        random_options options;
        options.shape.arch    = arch;
        options.layout.biases = options.layout.scales = true;  // in memory, llama.cpp creates all that is optional
        options.layout.fused_gate_up                  = true;
        write_random_model(file, options);
        const std::string error =
            run_in_child([&](const send_fn &) {
                struct source {
                    model_layout layout;
                    fill_row     fill;
                } src    = {make_layout(options.shape, options.layout), {}};
                src.fill = random_weights(src.layout, options.seed);
                auto set = [](ggml_tensor * tensor, void * user) {
                    const tensor_spec spec = {
                        tensor->name, tensor->type, {tensor->ne[0], tensor->ne[1], tensor->ne[2], tensor->ne[3]}};
                    for (int64_t row = 0; row < spec.n_rows(); row++) {
                        static_cast<source *>(user)->fill(spec, row,
                                                          static_cast<float *>(tensor->data) + row * spec.ne[0]);
                    }
                };
                const model_ptr in_memory(
                    llama_model_init_from_user(src.layout.kv.get(), set, &src, llama_model_default_params()));
                if (!in_memory) {
                    throw std::runtime_error("no model in memory");
                }
                selections a, b;
                if (last_logits(in_memory.get(), arch, "", a) != last_logits(load(file).get(), arch, "", b)) {
                    throw std::runtime_error("logits differ");
                }
                if (a.by_layer != b.by_layer) {
                    throw std::runtime_error("selections differ");
                }
            }).error;
        EXPECT_EQ(error, "") << arch;
    }
}

TEST(file, depends_on_the_seed_alone) {
    const scratch_folder scratch;
    const std::string    a = scratch / "a.gguf", b = scratch / "b.gguf";
    auto                 bytes = [](const std::string & path) {
        std::ifstream in(path, std::ios::binary);
        return std::string(std::istreambuf_iterator<char>(in), {});
    };
    random_options options;
    options.type = GGML_TYPE_Q8_0;
    write_random_model(a, options);
    write_random_model(b, options);
    EXPECT_TRUE(bytes(a) == bytes(b));
    options.seed = 2;
    write_random_model(b, options);
    EXPECT_FALSE(bytes(a) == bytes(b));
}

TEST(dense, a_model_without_experts_has_none) {
    const scratch_folder scratch;
    const std::string    file = scratch / "model.gguf";
    random_options       options;
    options.shape.arch     = "llama";
    options.shape.n_expert = 0;
    ASSERT_NO_THROW(write_random_model(file, options));
    EXPECT_EQ(error_of_using(file, options.shape), "no layer selects experts");
}

TEST(errors, say_what_llama_says) {
    random_options options;
    options.shape.arch = "no-such-arch";
    EXPECT_THROW(write_random_model("unused", options), moescope::error);
    options.shape.arch          = "qwen3moe";
    options.shape.n_expert_used = 9;
    EXPECT_THROW(write_random_model("unused", options), moescope::error);
    options.shape.n_expert_used = 3;
    EXPECT_THROW(write_random_model("/no/such/folder/model.gguf", options), moescope::error);
    options.shape.n_expert = options.shape.n_expert_used = 0;
    try {
        write_random_model("unused", options);
        FAIL() << "a qwen3moe without experts was made";
    } catch (const moescope::error & refused) {
        EXPECT_NE(std::string(refused.what()).find("llama.cpp refuses this shape of qwen3moe: "), std::string::npos)
            << refused.what();
    }
}

}  // namespace
