// The access trace of models without a closed form, `run` exported as access-json, against
//   the memory map: every source is in it, and what a decoded step touches weighs what the map says a token reads
//   an eval callback of the test's own: the same operations on the same weights, in the order of the graph
// and `stats --access` against the sums of the exported steps.

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "make-model/random_model.hpp"
#include "make-model/variants.hpp"
#include "support/access_steps.hpp"
#include "support/source_dir.hpp"

namespace {

using namespace moescope;
using namespace moescope::test;

// Shared experts beside the routed ones; groups and a dense first layer; a fused gate_up; biases and per-expert scales.
TEST_F(access_trace, random_models) {
    for (const char * arch : {"qwen2moe", "deepseek2", "bailingmoe2", "gpt-oss", "gemma4"}) {
        SCOPED_TRACE(arch);
        make_model::random_options o;
        o.shape.arch = arch;
        make_model::write_random_model(model_, o);
        expect_sound(model_, steps_of_run(model_));
    }
}

TEST_F(access_trace, demo_model) {
    const std::string model = source_dir() + "/models/demo.gguf";
    expect_sound(model, steps_of_run(model));
}

}  // namespace
