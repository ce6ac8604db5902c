// Nodes that are added to a graph: where they come, who reads them, and what is left alone. Graphs are planned and computed
// by ggml itself, and the results have a closed form.

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include <ggml-alloc.h>
#include <ggml-cpp.h>

#include "capture/graph_edit.hpp"

namespace moescope::capture {
namespace {

ggml_context_ptr new_context() {
    return ggml_context_ptr(
        ggml_init({ggml_tensor_overhead() * 64 + ggml_graph_overhead_custom(64, false), nullptr, true}));
}

ggml_api resolved_api() {
    ggml_api    api;
    std::string missing;
    EXPECT_TRUE(api.resolve(nullptr, missing)) << missing;
    return api;
}

constexpr int64_t width = 4, rows = 3;

class graph_edit_test : public testing::Test {
protected:
    graph_edit_test() {
        ggml_backend_load_all();
        cpu_.reset(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr));
        x_      = ggml_new_tensor_2d(values_.get(), GGML_TYPE_F32, width, rows);
        factor_ = ggml_new_tensor_1d(values_.get(), GGML_TYPE_F32, width);
        buffer_.reset(ggml_backend_alloc_ctx_tensors(values_.get(), cpu_.get()));
        ggml_backend_buffer_set_usage(buffer_.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
        ggml_backend_tensor_set(x_, x_values_.data(), 0, ggml_nbytes(x_));
        ggml_backend_tensor_set(factor_, factors_, 0, sizeof(factors_));
        ggml_set_name(x_, "x");
    }

    void build(std::initializer_list<ggml_tensor *> outputs, size_t size = 64) {
        graph_ = ggml_new_graph_custom(context_.get(), size, false);
        for (ggml_tensor * t : outputs) {
            ggml_set_output(t);
            ggml_build_forward_expand(graph_, t);
        }
    }

    std::vector<ggml_tensor *> nodes() const {
        ggml_tensor ** first = ggml_graph_nodes(graph_);
        return {first, first + ggml_graph_n_nodes(graph_)};
    }
    int index_of(const ggml_tensor * t) const {
        const auto all = nodes();
        return static_cast<int>(std::find(all.begin(), all.end(), t) - all.begin());
    }

    // Planned and computed as llama.cpp does it, so that memory is reused wherever the scheduler believes it may be.
    void compute() {
        ggml_backend_t               backend = cpu_.get();
        const ggml_backend_sched_ptr sched(ggml_backend_sched_new(&backend, nullptr, 1, 64, false, false));
        ASSERT_TRUE(ggml_backend_sched_alloc_graph(sched.get(), graph_));
        ASSERT_EQ(ggml_backend_sched_graph_compute(sched.get(), graph_), GGML_STATUS_SUCCESS);
        for (ggml_tensor * t : nodes()) {
            if ((t->flags & GGML_TENSOR_FLAG_OUTPUT) != 0) {
                std::vector<float> & to = results_[t];
                to.resize(static_cast<size_t>(ggml_nelements(t)));
                ggml_backend_tensor_get(t, to.data(), 0, ggml_nbytes(t));
            }
        }
    }

    // The value of x at (column, row).
    static float x(int64_t c, int64_t r) { return static_cast<float>(1 + c + width * r); }

    const ggml_api          api_ = resolved_api();
    ggml_backend_ptr        cpu_;
    ggml_context_ptr        values_ = new_context(), context_ = new_context();
    added_nodes             added_{api_, 8};
    ggml_backend_buffer_ptr buffer_;
    std::vector<float>      x_values_ = [] {
        std::vector<float> v(width * rows);
        std::iota(v.begin(), v.end(), 1.0F);
        return v;
    }();
    const float                                 factors_[width] = {1, 0, 3, 10};
    ggml_tensor *                               x_, *factor_;
    ggml_cgraph *                               graph_ = nullptr;
    std::map<ggml_tensor *, std::vector<float>> results_;
};

TEST_F(graph_edit_test, a_node_comes_right_behind_its_source) {
    ggml_tensor * a = ggml_sqr(context_.get(), x_);
    ggml_tensor * b = ggml_sqrt(context_.get(), a);
    ggml_tensor * c = ggml_neg(context_.get(), b);
    build({c});

    ggml_tensor * of_b     = ggml_sqr(added_.memory(), b);
    ggml_tensor * of_a     = ggml_sqr(added_.memory(), a);
    ggml_tensor * sum_of_a = ggml_sum_rows(added_.memory(), of_a);
    ggml_tensor * last     = ggml_sqr(added_.memory(), c);
    graph_edit    edit(api_, graph_);
    edit.insert(index_of(b), of_b);
    edit.insert(index_of(a), of_a);
    edit.insert(-1, last);
    edit.insert(index_of(a), sum_of_a);
    EXPECT_EQ(edit.apply(), "");
    EXPECT_EQ(nodes(), (std::vector<ggml_tensor *>{a, of_a, sum_of_a, b, of_b, c, last}));

    for (ggml_tensor * t : {of_b, sum_of_a, last}) {
        ggml_set_output(t);
    }
    compute();
    for (int64_t r = 0; r < rows; ++r) {
        float sum = 0;
        for (int64_t k = 0; k < width; ++k) {
            sum += std::pow(x(k, r), 4.0F);
            EXPECT_FLOAT_EQ(results_[c][size_t(k + r * width)], -x(k, r));
            EXPECT_FLOAT_EQ(results_[of_b][size_t(k + r * width)], x(k, r) * x(k, r));
            EXPECT_FLOAT_EQ(results_[last][size_t(k + r * width)], x(k, r) * x(k, r));
        }
        EXPECT_FLOAT_EQ(results_[sum_of_a][size_t(r)], sum);
    }
}

// A graph that is planned twice holds the nodes already, and keeps them where they are.
TEST_F(graph_edit_test, the_same_edit_again_changes_nothing) {
    ggml_tensor * a = ggml_sqr(context_.get(), x_);
    ggml_tensor * b = ggml_sqrt(context_.get(), a);
    build({b});
    ggml_tensor * copy   = ggml_cont(added_.memory(), a);
    ggml_tensor * scaled = ggml_mul(added_.memory(), a, factor_);
    for (int time = 0; time < 2; ++time) {
        graph_edit edit(api_, graph_);
        edit.insert(index_of(a), copy);
        edit.replace(a, index_of(a), scaled);
        EXPECT_EQ(edit.apply(), "");
        EXPECT_EQ(nodes(), (std::vector<ggml_tensor *>{a, copy, scaled, b}));
        EXPECT_EQ(copy->src[0], a);
        EXPECT_EQ(scaled->src[0], a);
        EXPECT_EQ(b->src[0], scaled);
    }
}

// Readers of a tensor, of its views and of their views; a reader that the graph computes before the replacement, and one that
// belongs to the edit, go on reading the tensor itself.
TEST_F(graph_edit_test, what_is_computed_behind_a_replacement_reads_it) {
    ggml_context * ctx    = context_.get();
    ggml_tensor *  a      = ggml_scale(ctx, x_, 2);
    ggml_tensor *  before = ggml_neg(ctx, a);
    ggml_tensor *  direct = ggml_add(ctx, a, x_);
    ggml_tensor *  view   = ggml_reshape_2d(ctx, a, width / 2, rows * 2);
    // Every second element from the third on, through a view of a view.
    ggml_tensor * part     = ggml_view_2d(ctx, view, 1, rows * 2 - 1, view->nb[1], view->nb[1]);
    ggml_tensor * of_views = ggml_cont(ctx, part);
    build({before, direct, of_views});

    ggml_tensor * scaled = ggml_mul(added_.memory(), a, factor_);
    ggml_tensor * copy   = ggml_cont(added_.memory(), a);
    graph_edit    edit(api_, graph_);
    edit.insert(index_of(before), copy);
    edit.replace(a, index_of(before), scaled);
    EXPECT_EQ(edit.apply(), "");
    EXPECT_EQ(index_of(scaled), index_of(before) + 2);
    EXPECT_EQ(scaled->src[0], a);
    EXPECT_EQ(before->src[0], a);
    EXPECT_EQ(direct->src[0], scaled);
    EXPECT_EQ(view->src[0], scaled);
    EXPECT_EQ(view->view_src, scaled);
    EXPECT_EQ(part->src[0], view);
    EXPECT_EQ(part->view_src, scaled);

    ggml_set_output(copy);
    compute();
    for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < width; ++c) {
            const auto i = static_cast<size_t>(c + r * width);
            EXPECT_FLOAT_EQ(results_[before][i], -2 * x(c, r));
            EXPECT_FLOAT_EQ(results_[copy][i], 2 * x(c, r));
            EXPECT_FLOAT_EQ(results_[direct][i], 2 * x(c, r) * factors_[c] + x(c, r));
        }
    }
    for (size_t i = 0; i < results_[of_views].size(); ++i) {
        const auto c = static_cast<int64_t>(2 * (i + 1)) % width, r = static_cast<int64_t>(2 * (i + 1)) / width;
        EXPECT_FLOAT_EQ(results_[of_views][i], 2 * x(c, r) * factors_[c]);
    }
}

// Where a view is replaced, later views of it are views of the replacement: their offsets count from its memory.
TEST_F(graph_edit_test, a_replaced_view_hands_its_views_over) {
    ggml_context * ctx   = context_.get();
    ggml_tensor *  a     = ggml_scale(ctx, x_, 2);
    ggml_tensor *  tail  = ggml_view_2d(ctx, a, width, rows - 1, a->nb[1], a->nb[1]);  // without the first row
    ggml_tensor *  last  = ggml_view_1d(ctx, tail, width, tail->nb[1]);
    ggml_tensor *  out   = ggml_cont(ctx, last);
    ggml_tensor *  whole = ggml_neg(ctx, a);
    build({out, whole});

    ggml_tensor * scaled = ggml_mul(added_.memory(), tail, factor_);
    graph_edit    edit(api_, graph_);
    edit.replace(tail, index_of(tail), scaled);
    EXPECT_EQ(edit.apply(), "");
    EXPECT_EQ(last->view_src, scaled);
    EXPECT_EQ(last->view_offs, scaled->nb[1]);
    compute();
    for (int64_t c = 0; c < width; ++c) {
        EXPECT_FLOAT_EQ(results_[out][size_t(c)], 2 * x(c, rows - 1) * factors_[c]);
        EXPECT_FLOAT_EQ(results_[whole][size_t(c)], -2 * x(c, 0));
    }
}

TEST_F(graph_edit_test, replacements_can_follow_each_other) {
    ggml_tensor * a   = ggml_scale(context_.get(), x_, 2);
    ggml_tensor * out = ggml_neg(context_.get(), a);
    build({out});
    ggml_tensor * first  = ggml_mul(added_.memory(), a, factor_);
    ggml_tensor * second = ggml_add(added_.memory(), first, factor_);
    graph_edit    edit(api_, graph_);
    edit.replace(a, index_of(a), first);
    edit.replace(first, index_of(a), second);
    EXPECT_EQ(edit.apply(), "");
    EXPECT_EQ(nodes(), (std::vector<ggml_tensor *>{a, first, second, out}));
    compute();
    EXPECT_FLOAT_EQ(results_[out][3], -(2 * x(3, 0) * factors_[3] + factors_[3]));
}

TEST_F(graph_edit_test, a_full_graph_is_left_alone) {
    ggml_tensor * a = ggml_sqr(context_.get(), x_);
    ggml_tensor * b = ggml_sqrt(context_.get(), a);
    build({b}, 2);
    graph_edit edit(api_, graph_);
    edit.replace(a, index_of(a), ggml_neg(added_.memory(), a));
    EXPECT_NE(edit.apply(), "");
    EXPECT_EQ(nodes(), (std::vector<ggml_tensor *>{a, b}));
    EXPECT_EQ(b->src[0], a);
}

// ggml lists leaves apart from nodes: a graph may have room for one more node, but not for the leaf that it reads.
TEST_F(graph_edit_test, a_graph_that_is_full_of_leaves_is_left_alone) {
    const auto    leaf = [&] { return ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, width, rows); };
    ggml_tensor * a    = ggml_add(context_.get(), leaf(), leaf());
    ggml_tensor * b    = ggml_add(context_.get(), a, leaf());
    build({b}, 3);
    const auto insert = [&](ggml_tensor * node) {
        graph_edit edit(api_, graph_);
        edit.insert(index_of(a), node);
        return edit.apply();
    };
    EXPECT_NE(insert(ggml_add(added_.memory(), a, leaf())), "");
    EXPECT_EQ(nodes(), (std::vector<ggml_tensor *>{a, b}));
    EXPECT_EQ(insert(ggml_add(added_.memory(), a, a->src[0])), "");  // a leaf that the graph has
}

TEST_F(graph_edit_test, a_replacement_of_another_layout_is_refused) {
    ggml_tensor * a = ggml_sqr(context_.get(), x_);
    ggml_tensor * b = ggml_sum_rows(context_.get(), a);
    build({b});
    for (ggml_tensor * other : {ggml_sum_rows(added_.memory(), a), ggml_transpose(added_.memory(), a)}) {
        graph_edit edit(api_, graph_);
        edit.replace(a, index_of(a), other);
        EXPECT_NE(edit.apply(), "");
        EXPECT_EQ(b->src[0], a);
    }
}

}  // namespace
}  // namespace moescope::capture
