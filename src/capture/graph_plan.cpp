#include "capture/graph_plan.hpp"

#include <algorithm>
#include <cstdio>

#include "capture/gram_op.hpp"
#include "capture/norm_op.hpp"
#include "capture/weight_reads.hpp"

namespace moescope::capture {

namespace {

// Room for the nodes that a graph can get, for more blocks than any model has.
constexpr size_t nodes_per_block = 12, max_added_nodes = 6144;

}  // namespace

void planned_graph::clear() {
    blocks.clear();
    tokens = pos = out_ids = nullptr;
    n_tokens               = 0;
    first_router           = nullptr;
    weight_reads.clear();
}

graph_plan::graph_plan(const ggml_api & api, ggml_backend_sched_t sched, capture_options options)
    : api_(api),
      sched_(sched),
      options_(std::move(options)),
      backends_(api, sched),
      extra_(api, backends_),
      finder_(api),
      added_(api, max_added_nodes) {
    if (!added_) {
        failure_ = "no memory for the probes";
    }
}

void graph_plan::prepare(ggml_cgraph * graph, mtp_layers mtp) {
    planned_.clear();
    moe_graph found = failure_.empty() ? find(graph) : moe_graph();
    if (found.blocks.empty()) {
        return;
    }
    if (found.blocks.size() * nodes_per_block > max_added_nodes) {
        failure_ = "the graph has more MoE blocks than there is room for probes";
        return;
    }
    added_.reset();
    graph_edit edit(api_, graph);
    if (n_extra() > 0) {
        failure_ =
            extra_.take_out(found, api_.ggml_graph_nodes(graph), api_.ggml_graph_n_nodes(graph), added_.memory(), edit);
    }
    leave_out_unwanted(found);
    if (options_.what.access) {  // reads name blocks by their place among those that stay
        planned_.weight_reads = wanted_reads(graph, found);
    }
    plan_all(found, mtp, edit);
    failure_ = failure_.empty() ? edit.apply() : failure_;
    if (!failure_.empty()) {
        planned_.clear();
        return;
    }
    for (ggml_tensor * t : found.inputs) {
        api_.ggml_set_output(t);
    }
}

void graph_plan::plan_all(const moe_graph & found, mtp_layers mtp, graph_edit & edit) {
    for (const moe_block & b : found.blocks) {
        planned_.blocks.push_back(plan_block(b, mtp, edit));
    }
    planned_.tokens       = found.tokens;
    planned_.pos          = found.pos;
    planned_.out_ids      = found.out_ids;
    planned_.n_tokens     = found.n_tokens;
    planned_.first_router = found.blocks.empty() ? nullptr : found.blocks[0].router;
}

void graph_plan::leave_out_unwanted(moe_graph & found) {
    const bool any = !found.blocks.empty();
    found.blocks.erase(std::remove_if(found.blocks.begin(), found.blocks.end(),
                                      [&](const moe_block & b) { return unwanted(b.layer); }),
                       found.blocks.end());
    left_all_out_ = any && found.blocks.empty();
}

// The graph's blocks; none where the graph is not understood.
moe_graph graph_plan::find(ggml_cgraph * graph) {
    moe_graph found = finder_.find(graph);
    failure_        = finder_.failure();
    return found;
}

access_list graph_plan::wanted_reads(ggml_cgraph * graph, const moe_graph & found) const {
    access_list reads = find_weight_reads(api_, api_.ggml_graph_nodes(graph), api_.ggml_graph_n_nodes(graph), found);
    reads.erase(std::remove_if(reads.begin(), reads.end(), [&](const access_entry & e) { return unwanted(e.layer); }),
                reads.end());
    return reads;
}

planned_graph::block graph_plan::plan_block(const moe_block & b, mtp_layers mtp, graph_edit & edit) {
    planned_graph::block p;
    const column_set     here = own_nodes() ? options_.what.columns : options_.what.columns.without(column::peaks);
    p.layout                  = b.layout(here, mtp, n_extra());
    p.n_extra                 = n_extra();
    p.ids                     = cpu_only() ? keep(b.ids) : copy_of(b.ids, b, "ids", edit);

    const auto kept = [&](column c) -> ggml_tensor * {
        switch (c) {
            case column::weights: return cpu_only() ? keep(b.weights) : copy_of(b.weights, b, "weights", edit);
            case column::weights_raw: return keep(b.weights_raw);
            case column::logits: return keep(b.logits);
            case column::probs: return keep(b.probs);
            case column::selection: return keep(b.selection);
            case column::gate_input: return keep(b.gate_input);
            case column::norms: return norms_of(b, edit);
            case column::gram: return gram_of(b, edit);
            case column::runner_up: return keep(b.weights_raw);
            case column::peaks: return peaks_of(b, edit);
            default: return nullptr;
        }
    };
    for (size_t i = 0; i < n_float_columns; ++i) {
        if (p.layout.columns.has(float_columns[i])) {
            p.columns[i] = kept(float_columns[i]);
        }
    }
    p.squared_norms = !own_nodes();
    return p;
}

// Nothing may be placed over t, nor over the memory it views.
ggml_tensor * graph_plan::keep(ggml_tensor * t) const {
    api_.ggml_set_output(t);
    api_.ggml_set_output(root_of(t));
    return t;
}

ggml_tensor * graph_plan::copy_of(ggml_tensor * t, const moe_block & b, const char * what, graph_edit & edit) {
    ggml_tensor * copy = named(api_.ggml_cont(added_.memory(), t), what, b);
    // Left to itself the scheduler may put the copy on another device than what it copies.
    if (ggml_backend_t backend = b.router ? backends_.holding(b.router) : nullptr) {
        api_.ggml_backend_sched_set_tensor_backend(sched_, copy, backend);
    }
    edit.insert(b.weights_node, copy);
    return copy;
}

ggml_tensor * graph_plan::norms_of(const moe_block & b, graph_edit & edit) {
    ggml_tensor * x = b.expert_output;
    ggml_tensor * norms;
    if (own_nodes()) {
        norms = custom(x->ne[1], x->ne[2], {x}, column_norms, nullptr);
    } else {
        ggml_tensor * squares = api_.ggml_sqr(added_.memory(), x);
        edit.insert(b.output_node, squares);
        norms = api_.ggml_sum_rows(added_.memory(), squares);
    }
    edit.insert(b.output_node, norms);
    return named(norms, "norms", b);
}

// Where there are no nodes of our own the vectors are put side by side, for one product of matrices per row.
ggml_tensor * graph_plan::gram_of(const moe_block & b, graph_edit & edit) {
    const residual_join & r = b.residual;
    ggml_tensor *         x = b.expert_output;
    ggml_tensor *         gram;
    if (own_nodes()) {
        const int64_t m = x->ne[1] + 2;
        gram            = custom(m * m, x->ne[2], {x, r.before, r.after}, column_gram, gram_factor(r.scale));
    } else {
        ggml_context * const memory = added_.memory();
        const auto           put    = [&](ggml_tensor * t) {
            edit.insert(r.node, t);
            return t;
        };
        const auto as_column = [&](ggml_tensor * t) {
            return put(api_.ggml_reshape_3d(memory, put(api_.ggml_cont(memory, t)), t->ne[0], 1, t->ne[1]));
        };
        x                    = r.scale == 1 ? x : put(api_.ggml_scale(memory, x, r.scale));
        ggml_tensor * before = as_column(r.before), *after = as_column(r.after);
        ggml_tensor * stream = put(api_.ggml_concat(memory, before, after, 1));
        ggml_tensor * all    = put(api_.ggml_concat(memory, x, stream, 1));
        ggml_tensor * square = put(api_.ggml_mul_mat(memory, all, all));
        gram                 = api_.ggml_reshape_2d(memory, square, square->ne[0] * square->ne[1], square->ne[2]);
    }
    edit.insert(r.node, gram);
    return named(gram, "gram", b);
}

ggml_tensor * graph_plan::peaks_of(const moe_block & b, graph_edit & edit) {
    ggml_tensor * x     = b.expert_output;
    ggml_tensor * peaks = custom(x->ne[1], x->ne[2], {x}, column_peaks, nullptr);
    edit.insert(b.output_node, peaks);
    return named(peaks, "peaks", b);
}

// A node of f32 [ne0, ne1] that all threads of the CPU compute.
ggml_tensor * graph_plan::custom(int64_t ne0, int64_t ne1, std::vector<ggml_tensor *> of, ggml_custom_op_t op,
                                 void * data) {
    ggml_tensor * t = api_.ggml_custom_4d(added_.memory(), GGML_TYPE_F32, ne0, ne1, 1, 1, of.data(),
                                          static_cast<int>(of.size()), op, GGML_N_TASKS_MAX, data);
    api_.ggml_backend_sched_set_tensor_backend(sched_, t, backends_.cpu());
    return t;
}

// A new node whose values are read.
ggml_tensor * graph_plan::named(ggml_tensor * t, const char * what, const moe_block & b) const {
    char name[GGML_MAX_NAME];
    std::snprintf(name, sizeof(name), "moescope.%s.%d.%d", what, b.layer, b.block);
    api_.ggml_set_name(t, name);
    api_.ggml_set_output(t);
    return t;
}

}  // namespace moescope::capture
