// The C API, by the example program of the documentation: its trace against the closed form of a planted model.

#include <gtest/gtest.h>

#include "make-model/planted_model.hpp"
#include "make-model/random_model.hpp"
#include "make-model/variants.hpp"
#include "moescope/moescope.h"
#include "support/made_model.hpp"
#include "support/masked_run.hpp"
#include "support/model_runner.hpp"
#include "support/process.hpp"
#include "trace/reader.hpp"

namespace {

using namespace moescope;
using namespace moescope::test;

TEST(embed, the_example_records_what_the_model_routed) {
    const scratch_folder            folder;
    const make_model::planted_truth truth(make_model::planted_options{});
    make_model::write_planted_model(folder / "m.gguf", truth);
    const std::vector<std::string> command = {env_or_die("EMBED_EXAMPLE_BIN"), folder / "m.gguf",
                                              folder / "t.moetrace"};
    ASSERT_EQ(run(command, folder / "out", folder / "err"), 0) << read_file(folder / "err");

    trace::trace_reader  reader(folder / "t.moetrace");
    std::vector<int32_t> tokens, positions;
    size_t               decoded = 0;
    for (routed_ubatch u; reader.next(u);) {
        tokens.insert(tokens.end(), u.token.begin(), u.token.end());
        positions.insert(positions.end(), u.pos.begin(), u.pos.end());
        for (const row & r : rows_of(u)) {
            const auto il = static_cast<uint32_t>(r.layer);
            EXPECT_EQ(std::vector<int>(r.ids.begin(), r.ids.end()), truth.ids(il, r.token));
            EXPECT_EQ(r.seq, 0);
            decoded += r.decode && r.layer == 0;
        }
    }
    EXPECT_EQ(tokens, (std::vector<int32_t>{72, 101, 108, 108, 111, 72, 101, 108}));
    EXPECT_EQ(positions, (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7}));
    EXPECT_EQ(decoded, 3u);
    EXPECT_TRUE(reader.info().ended);
    EXPECT_EQ(reader.info().program, "embed_example");
    EXPECT_EQ(*reader.piece(72), "H");

    // A name that is taken is refused, in one line.
    EXPECT_EQ(run(command, folder / "out", folder / "err"), 1);
    EXPECT_NE(read_file(folder / "err").find("the file exists"), std::string::npos);
}

// An MTP block looks like one more layer; what tells it apart is the model's number of layers (docs/capture.md, trap 11).
TEST(embed, mtp_blocks_are_told_apart) {
    using namespace moescope::test;
    const scratch_folder folder;
    random_options       o;
    o.shape.arch          = "glm4moe";
    o.shape.n_layer_nextn = 1;
    write_random_model(folder / "m.gguf", o);
    const auto n_layer = static_cast<int32_t>(complete(o.shape).n_layer);
    const auto model   = load(folder / "m.gguf", true);
    for (const auto type : {LLAMA_CONTEXT_TYPE_DEFAULT, LLAMA_CONTEXT_TYPE_MTP}) {
        const std::string      path    = folder / ("t" + std::to_string(type) + ".moetrace");
        const moescope_options options = {path.c_str(), nullptr, nullptr, false, nullptr, {}};
        moescope_capture *     m       = moescope_create(&options, nullptr, 0);
        llama_context_params   params  = model_runner::default_params();
        params.ctx_type                = type;
        params.cb_eval                 = moescope_eval;
        params.cb_eval_user_data       = m;
        const context_ptr ctx(llama_init_from_model(model.get(), params));
        ASSERT_NE(ctx, nullptr);
        batch             b(0, 8, type == LLAMA_CONTEXT_TYPE_MTP ? llama_model_n_embd_out(model.get()) : 0);
        const llama_batch view = b.view();
        moescope_batch(m, ctx.get(), &view);
        ASSERT_EQ(llama_decode(ctx.get(), view), 0);
        ASSERT_EQ(moescope_finish(m, nullptr, 0), 0);

        trace::trace_reader reader(path);
        size_t              n_rows = 0;
        for (routed_ubatch u; reader.next(u);) {
            for (const row & r : rows_of(u)) {
                EXPECT_EQ(r.layer >= n_layer, type == LLAMA_CONTEXT_TYPE_MTP);
                EXPECT_EQ(r.layout.has(block_layout::mtp), type == LLAMA_CONTEXT_TYPE_MTP);
                n_rows += 1;
            }
        }
        EXPECT_GT(n_rows, 0u);
    }
}

// What a context computes with this capture, or without one.
outcome computed(const std::string & path, const std::string & arch, moescope_capture * m) {
    outcome              result;
    const model_ptr      model  = load(path);
    llama_context_params params = params_for(arch, {});
    params.cb_eval              = m != nullptr ? moescope_eval : nullptr;
    params.cb_eval_user_data    = m;
    const context_ptr ctx(llama_init_from_model(model.get(), params));
    decode_sequences(ctx.get(), arch, {}, 0, 24, result);
    decode_sequences(ctx.get(), arch, {}, 24, 1, result);
    return result;
}

// One of each kind of router: softmax, sigmoid with a bias, softmax of the selected, with a bias of the router, gated
// inputs, groups with and without a bias, a table, chunks.
TEST(embed, a_mask_computes_what_the_pruned_file_computes) {
    std::vector<random_options> kinds;
    for (const char * arch : {"qwen3moe", "glm4moe", "gpt-oss", "llama4", "ernie4_5-moe"}) {
        kinds.emplace_back().shape.arch = arch;
    }
    for (const char * name :
         {"gpt-oss-biases", "groups-deepseek2", "groups-bailingmoe2", "hash-deepseek4", "grovemoe-pairs"}) {
        kinds.push_back(find_variant(name).options);
    }
    for (random_options & o : kinds) {
        const scratch_folder folder;
        const std::string whole = folder / "whole.gguf", pruned = folder / "pruned.gguf", trace = folder / "t.moetrace";
        const std::string & arch = o.shape.arch;
        o.shape.n_expert         = 16;
        o.shape.n_expert_used    = 3;
        write_random_model(whole, o);
        const kept_by_layer kept = write_pruned_half(whole, pruned);
        const std::string   mask = mask_for(kept, 16).to_text();
        moescope_options    options{};
        options.output       = trace.c_str();
        options.mask         = mask.c_str();
        moescope_capture * m = moescope_create(&options, nullptr, 0);
        ASSERT_NE(m, nullptr);
        const outcome masked = computed(whole, arch, m), want = computed(pruned, arch, nullptr);
        char          why[256] = "";
        EXPECT_EQ(moescope_finish(m, why, sizeof(why)), 0) << arch << ": " << why;
        EXPECT_NO_THROW(compare_outputs(masked.outputs, want.outputs, want.n_output, {})) << arch;
        EXPECT_ANY_THROW(compare_outputs(computed(whole, arch, nullptr).outputs, want.outputs, want.n_output, {}))
            << arch;

        trace::trace_reader reader(trace);
        EXPECT_EQ(reader.info().mask, mask);
        size_t n_rows = 0;
        for (routed_ubatch u; reader.next(u);) {
            for (const row & r : rows_of(u)) {
                for (const uint32_t id : r.ids) {
                    const bool there =
                        std::count(kept.at(r.layer).begin(), kept.at(r.layer).end(), static_cast<int32_t>(id));
                    EXPECT_TRUE(there || r.layout.has(block_layout::ids_repeat)) << arch << ", layer " << r.layer;
                }
                n_rows += 1;
            }
        }
        EXPECT_GE(n_rows, 25U);
    }
}

TEST(embed, a_mask_that_does_not_fit_is_told_by_finish) {
    const scratch_folder folder;
    random_options       o;
    o.shape.n_expert      = 16;
    o.shape.n_expert_used = 3;
    write_random_model(folder / "m.gguf", o);
    for (const auto & [mask, what] :
         {std::pair{"omit 0:16", "not masked: layer 0 has no expert 16; its experts are 0 to 15"},
          {"only 0:3-4", "not masked: layer 0 has 2 experts left, and a token uses 3"}}) {
        const std::string trace = folder / (std::string(mask) + ".moetrace");
        moescope_options  options{};
        options.output       = trace.c_str();
        options.mask         = mask;
        moescope_capture * m = moescope_create(&options, nullptr, 0);
        computed(folder / "m.gguf", o.shape.arch, m);
        char why[256] = "";
        EXPECT_EQ(moescope_finish(m, why, sizeof(why)), 1);
        EXPECT_STREQ(why, what);
    }
    char             why[256] = "";
    moescope_options options{};
    options.output = "unused";
    options.mask   = "0:16";
    EXPECT_EQ(moescope_create(&options, why, sizeof(why)), nullptr);
    EXPECT_STREQ(why, "a mask is such as 'omit 5:15,3:28-30; only 4:0-7; bias 5:15=-2', not '0:16'");
}

TEST(embed, without_a_capture_nothing_is_recorded_and_nothing_breaks) {
    char text[64] = "";
    EXPECT_EQ(moescope_create(nullptr, text, sizeof(text)), nullptr);
    EXPECT_STRNE(text, "");
    EXPECT_FALSE(moescope_eval(nullptr, true, nullptr));
    EXPECT_TRUE(moescope_eval(nullptr, false, nullptr));
    moescope_batch(nullptr, nullptr, nullptr);
    EXPECT_EQ(moescope_finish(nullptr, text, sizeof(text)), 1);
    EXPECT_STREQ(text, "there is no capture to finish");
}

}  // namespace
