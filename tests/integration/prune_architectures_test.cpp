// Pruning every MoE architecture that llama.cpp has, with llama.cpp as the judge:
//   keep all                  the same tensors, byte for byte, and the same logits, bit for bit
//   keep what a prompt uses   the same experts under their new numbers; the same logits where gates do not depend on the
//                             experts that went, and gates grown by the expected factor where they do
//   keep k                    loads and runs, and never names an expert that is not there
// Each case runs in a child process, so that an assertion in llama.cpp names the architecture and ends nothing else.

#include "make-model/architecture.hpp"
#include "make-model/child_process.hpp"
#include "make-model/variants.hpp"
#include "support/prune_judge.hpp"

#include <gtest/gtest.h>

using namespace moescope;
using namespace moescope::test;

namespace {

make_model::random_options options_for(const std::string & arch) {
    make_model::random_options o;
    o.shape.arch          = arch;
    o.shape.n_expert      = 16;
    o.shape.n_expert_used = 2;
    return o;
}

std::string error_of(const prune_case & c, std::string & how) {
    const scratch_folder dir;
    const auto           result =
        make_model::run_in_child([&](const make_model::send_fn & send) { send(checked_case(c, dir).check()); });
    how = result.output;
    return result.error;
}

TEST(prune, every_architecture) {
    int n_pruned = 0;
    for (const std::string & arch : make_model::moe_architectures()) {
        std::string       how;
        const std::string what = error_of({arch, options_for(arch)}, how);
        EXPECT_EQ(what, "") << arch;
        n_pruned += what.empty() ? 1 : 0;
        std::printf("  %-18s %s\n", arch.c_str(), what.empty() ? how.c_str() : what.c_str());
    }
    std::printf("%d architectures pruned and run\n", n_pruned);
    EXPECT_GE(n_pruned, 40);
}

// Groups, chunks, hash tables, fused gate and up, biases, scales, MTP blocks, top-k by layer, quantised types.
// With 32 experts where a variant has fewer, so that a short prompt leaves some of them unused.
TEST(prune, every_variant) {
    for (make_model::variant v : make_model::variants()) {
        v.options.shape.n_expert = std::max(v.options.shape.n_expert, 32u);
        std::string       how;
        const std::string what = error_of({v.name, v.options, 2}, how);
        EXPECT_EQ(what, "") << v.name;
        std::printf("  %-26s %s\n", v.name.c_str(), what.empty() ? how.c_str() : what.c_str());
    }
}

}  // namespace
