// The list of outputs, by which rows of the last layer find their tokens (docs/capture.md, trap 6): by name where it has one,
// by structure where it has none, and nothing else in its place.

#include <gtest/gtest.h>

#include <ggml-cpp.h>

#include "capture/moe_graph.hpp"

namespace moescope::capture {
namespace {

constexpr int64_t width = 4, n_tokens = 6, n_outputs = 2;

class outputs_test : public testing::Test {
protected:
    outputs_test() {
        std::string missing;
        EXPECT_TRUE(api_.resolve(nullptr, missing)) << missing;
        ggml_tensor * table = named(ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, width, 32), "token_embd.weight");
        embedded_           = ggml_get_rows(context_.get(), table, input(n_tokens, "inp_tokens"));
        computed_           = ggml_sqr(context_.get(), embedded_);
    }

    static ggml_tensor * named(ggml_tensor * t, const char * name) { return ggml_set_name(t, name); }

    ggml_tensor * input(int64_t n, const char * name) {
        ggml_tensor * t = ggml_new_tensor_1d(context_.get(), GGML_TYPE_I32, n);
        ggml_set_input(t);
        return named(t, name);
    }
    ggml_tensor * pick(ggml_tensor * rows, ggml_tensor * list) { return ggml_get_rows(context_.get(), rows, list); }

    // The list that is found in a graph of these ends, which the graph computes in their order.
    ggml_tensor * found_in(std::initializer_list<ggml_tensor *> ends) {
        ggml_cgraph * graph = ggml_new_graph_custom(context_.get(), 64, false);
        for (ggml_tensor * t : ends) {
            ggml_build_forward_expand(graph, t);  // gives leaves without a name one, "leaf_3"
        }
        const moe_graph found = find_moe(api_, ggml_graph_nodes(graph), ggml_graph_n_nodes(graph));
        EXPECT_EQ(found.n_tokens, n_tokens);
        return found.out_ids;
    }

    ggml_api         api_;
    ggml_context_ptr context_{
        ggml_init({ggml_tensor_overhead() * 64 + 4 * ggml_graph_overhead_custom(64, false), nullptr, true})};
    ggml_tensor *embedded_, *computed_;
};

TEST_F(outputs_test, has_the_name_that_this_version_gives_it) {
    for (const char * name : {"out_ids", "inp_out_ids"}) {
        ggml_tensor * list = input(n_outputs, name);
        EXPECT_EQ(found_in({pick(computed_, list)}), list);
    }
}

TEST_F(outputs_test, without_a_name_it_picks_among_computed_rows) {
    ggml_tensor * list = input(n_outputs, "");
    EXPECT_EQ(found_in({pick(computed_, list)}), list);
    ggml_tensor * all = input(n_tokens, "");
    EXPECT_EQ(found_in({pick(ggml_neg(context_.get(), computed_), all)}), all);
}

TEST_F(outputs_test, a_name_goes_before_structure) {
    ggml_tensor *unnamed = input(n_outputs, ""), *list = input(n_outputs, "out_ids");
    EXPECT_EQ(found_in({pick(computed_, unnamed), pick(ggml_neg(context_.get(), computed_), list)}), list);
}

TEST_F(outputs_test, nothing_else_is_taken_for_it) {
    ggml_context * ctx     = context_.get();
    ggml_tensor *  weight  = named(ggml_new_tensor_2d(ctx, GGML_TYPE_F32, width, n_tokens), "type_embd.weight");
    ggml_tensor *  states  = named(ggml_new_tensor_2d(ctx, GGML_TYPE_F32, 2 * width, n_tokens / 2), "cache_r_l0");
    ggml_tensor *  chosen  = ggml_top_k(ctx, computed_, 1);  // experts of a router: computed, not given
    ggml_tensor *  ids     = ggml_reshape_1d(ctx, ggml_cont(ctx, chosen), n_tokens);
    ggml_tensor *  fewer   = ggml_view_2d(ctx, computed_, width, n_tokens - 1, computed_->nb[1], 0);
    ggml_tensor *  too_few = ggml_cont(ctx, fewer);
    const std::pair<const char *, ggml_tensor *> others[] = {
        {"rows of a weight", pick(weight, input(n_outputs, ""))},
        {"states that the context keeps", pick(ggml_reshape_2d(ctx, states, width, n_tokens), input(n_outputs, ""))},
        {"ids that the graph computes", pick(computed_, ids)},
        {"rows that are not of all tokens", pick(too_few, input(n_outputs, ""))},
        {"a list with another name", pick(computed_, input(n_outputs, "inp_s_copy"))},
        {"more than there are tokens", pick(computed_, input(n_tokens + 1, ""))},
    };
    for (const auto & [what, t] : others) {
        EXPECT_EQ(found_in({computed_, t}), nullptr) << what;
    }
}

}  // namespace
}  // namespace moescope::capture
