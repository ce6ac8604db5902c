#include "capture/probe.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "capture/norm_op.hpp"
#include "capture/self_test.hpp"
#include "capture/weight_reads.hpp"

namespace moescope::capture {

namespace {

// Room for the nodes that a graph can get: five per block, more blocks than any model has.
constexpr size_t max_added_nodes = 4096;

}  // namespace

probe::probe(const ggml_api & api, ggml_backend_sched_t sched, capture_options options)
    : api_(api),
      sched_(sched),
      options_(std::move(options)) {
    look_at_backends();
    ggml_init_params params = {};
    params.mem_size         = max_added_nodes * api_.ggml_tensor_overhead();
    params.no_alloc         = true;
    ctx_                    = api_.ggml_init(params);
    if (ctx_ == nullptr) {
        failure_ = "no memory for the probes";
    }
}

probe::~probe() {
    if (ctx_ != nullptr) {
        api_.ggml_free(ctx_);
    }
}

void probe::look_at_backends() {
    cpu_only_ = true;
    for (int i = 0; i < api_.ggml_backend_sched_get_n_backends(sched_); ++i) {
        ggml_backend_t     backend = api_.ggml_backend_sched_get_backend(sched_, i);
        ggml_backend_dev_t device  = api_.ggml_backend_get_device(backend);
        const auto         type    = device ? api_.ggml_backend_dev_type(device) : GGML_BACKEND_DEVICE_TYPE_GPU;
        backends_.push_back(backend);
        if (type == GGML_BACKEND_DEVICE_TYPE_CPU) {
            cpu_ = backend;
        } else if (type != GGML_BACKEND_DEVICE_TYPE_ACCEL) {  // an accelerator such as BLAS works in host memory
            cpu_only_ = false;
        }
    }
    cpu_only_ = cpu_only_ && cpu_ != nullptr;
}

void probe::plan(ggml_cgraph * graph) {
    // Nothing of the graph before stays: its tensors may be gone, its inputs are not this one's.
    graph_ = {};
    planned_.clear();
    bound_.clear();
    tokens_.clear();
    pos_.clear();
    out_ids_.clear();
    pending_ = false;
    if (!failure_.empty()) {
        return;
    }
    ggml_tensor ** nodes   = api_.ggml_graph_nodes(graph);
    const int      n_nodes = api_.ggml_graph_n_nodes(graph);
    if (!nodes_tested_ && refuses(test_nodes(api_, nodes, n_nodes))) {
        return;  // before anything follows the nodes' pointers
    }
    nodes_tested_   = true;
    moe_graph found = find_moe(api_, nodes, n_nodes);
    if (found.blocks.empty() || (!blocks_tested_ && refuses(test_blocks(api_, found)))) {
        return;
    }
    blocks_tested_ = true;
    graph_         = std::move(found);

    const auto unwanted = [&](const auto & item) { return item.layer >= 0 && !options_.layers.has(item.layer); };
    graph_.blocks.erase(std::remove_if(graph_.blocks.begin(), graph_.blocks.end(), unwanted), graph_.blocks.end());
    if (options_.what.access) {
        weight_reads_ = find_weight_reads(api_, nodes, n_nodes, graph_);
        weight_reads_.erase(std::remove_if(weight_reads_.begin(), weight_reads_.end(), unwanted), weight_reads_.end());
    }

    if (graph_.blocks.size() > max_added_nodes / 5) {
        failure_ = "the graph has more MoE blocks than there is room for probes";
        return;
    }
    api_.ggml_reset(ctx_);
    std::vector<insertion> added;
    for (const moe_block & b : graph_.blocks) {
        planned_.push_back(plan_block(b, added));
    }
    if (n_nodes + static_cast<int>(added.size()) > api_.ggml_graph_size(graph)) {
        failure_ = "the graph has no room for the probes' nodes";  // expanding a full graph aborts the host
        planned_.clear();
        return;
    }
    insert(graph, added);
    for (ggml_tensor * t : graph_.inputs) {
        api_.ggml_set_output(t);
    }
}

// Whether the self-test found something wrong, which ends the recording here.
bool probe::refuses(const std::string & wrong) {
    if (!wrong.empty()) {
        failure_ = std::string("this ggml (") + api_.ggml_version() + ") lays out its tensors differently: " + wrong;
    }
    return !wrong.empty();
}

// Nothing may be placed over t, nor over the memory it views.
ggml_tensor * probe::keep(ggml_tensor * t) {
    api_.ggml_set_output(t);
    api_.ggml_set_output(root_of(t));
    return t;
}

probe::planned probe::plan_block(const moe_block & b, std::vector<insertion> & added) {
    planned p;
    p.block          = b;
    p.layout         = b.layout(options_.what.columns, n_layer_);
    const auto wants = [&](column c) { return p.layout.columns.has(c); };
    const auto put   = [&](column c, ggml_tensor * t) { p.columns[column_index(c)] = t; };

    p.ids = cpu_only_ ? keep(b.ids) : copy_of(b.ids, b, "ids", added);
    if (wants(column::weights)) {
        put(column::weights, cpu_only_ ? keep(b.weights) : copy_of(b.weights, b, "weights", added));
    }
    if (wants(column::weights_raw)) {
        put(column::weights_raw, keep(b.weights_raw));
    }
    if (wants(column::logits)) {
        put(column::logits, keep(b.logits));
    }
    if (wants(column::probs)) {
        put(column::probs, keep(b.probs));
    }
    if (wants(column::selection)) {
        put(column::selection, keep(b.selection));
    }
    if (wants(column::gate_input)) {
        put(column::gate_input, keep(b.gate_input));
    }
    if (wants(column::norms)) {
        put(column::norms, norms_of(b, p, added));
    }
    return p;
}

ggml_tensor * probe::copy_of(ggml_tensor * t, const moe_block & b, const char * what, std::vector<insertion> & added) {
    ggml_tensor * copy = api_.ggml_cont(ctx_, t);
    char          name[GGML_MAX_NAME];
    std::snprintf(name, sizeof(name), "moescope.%s.%d.%d", what, b.layer, b.block);
    api_.ggml_set_name(copy, name);
    api_.ggml_set_output(copy);
    // Left to itself the scheduler may put the copy on another device than what it copies.
    if (ggml_backend_t backend = b.router ? backend_of_weight(b.router) : nullptr) {
        api_.ggml_backend_sched_set_tensor_backend(sched_, copy, backend);
    }
    added.push_back({b.weights_node, copy});
    return copy;
}

ggml_tensor * probe::norms_of(const moe_block & b, planned & p, std::vector<insertion> & added) {
    char name[GGML_MAX_NAME];
    std::snprintf(name, sizeof(name), "moescope.norms.%d.%d", b.layer, b.block);
    ggml_tensor * x = b.expert_output;
    ggml_tensor * norms;
    if (cpu_only_) {
        norms = api_.ggml_custom_4d(ctx_, GGML_TYPE_F32, x->ne[1], x->ne[2], 1, 1, &x, 1, column_norms,
                                    GGML_N_TASKS_MAX, nullptr);
        api_.ggml_backend_sched_set_tensor_backend(sched_, norms, cpu_);
    } else {
        ggml_tensor * squares = api_.ggml_sqr(ctx_, x);
        norms                 = api_.ggml_sum_rows(ctx_, squares);
        p.squared_norms       = true;
        added.push_back({b.output_node, squares});
    }
    api_.ggml_set_name(norms, name);
    api_.ggml_set_output(norms);
    added.push_back({b.output_node, norms});
    return norms;
}

// The scheduler's backend that holds a weight; null when it is not clear.
ggml_backend_t probe::backend_of_weight(const ggml_tensor * w) const {
    const ggml_backend_buffer_t buffer = w->view_src ? w->view_src->buffer : w->buffer;
    if (buffer == nullptr) {
        return nullptr;
    }
    for (ggml_backend_t backend : backends_) {
        if (api_.ggml_backend_supports_buft(backend, api_.ggml_backend_buffer_get_type(buffer))) {
            return backend;
        }
    }
    return nullptr;
}

// Adds the nodes to the graph and moves each to right behind its source, so that what it reads need not outlive it.
void probe::insert(ggml_cgraph * graph, std::vector<insertion> & added) {
    if (added.empty()) {
        return;
    }
    std::stable_sort(added.begin(), added.end(),
                     [](const insertion & a, const insertion & b) { return a.behind < b.behind; });
    const int n_before = api_.ggml_graph_n_nodes(graph);
    for (const insertion & i : added) {
        api_.ggml_build_forward_expand(graph, i.node);
    }
    ggml_tensor **             nodes = api_.ggml_graph_nodes(graph);
    std::vector<ggml_tensor *> order;
    order.reserve(static_cast<size_t>(n_before) + added.size());
    auto next = added.begin();
    for (int n = 0; n < n_before; ++n) {
        order.push_back(nodes[n]);
        for (; next != added.end() && next->behind == n; ++next) {
            order.push_back(next->node);
        }
    }
    for (; next != added.end(); ++next) {
        order.push_back(next->node);
    }
    std::copy(order.begin(), order.end(), nodes);
}

void probe::bind() {
    bound_.clear();
    layout_.clear();
    for (const planned & p : planned_) {
        bound b;
        b.layout        = p.layout;
        b.ids           = tensor_view(api_, p.ids, p.layout.n_expert_used);
        b.squared_norms = p.squared_norms;
        for (size_t i = 0; i < n_float_columns; ++i) {
            if (p.columns[i] != nullptr) {
                b.columns[i] = tensor_view(api_, p.columns[i], p.layout.width(float_columns[i]));
            }
        }
        layout_.push_back(p.layout);
        bound_.push_back(b);
    }
    tokens_at_  = graph_.tokens ? tensor_view(api_, graph_.tokens, graph_.tokens->ne[0]) : tensor_view();
    pos_at_     = graph_.pos ? tensor_view(api_, graph_.pos, graph_.pos->ne[0]) : tensor_view();
    out_ids_at_ = graph_.out_ids ? tensor_view(api_, graph_.out_ids, graph_.out_ids->ne[0]) : tensor_view();
    if (!planned_.empty() && planned_[0].block.router != nullptr) {
        weight_address_ = planned_[0].block.router->data;
    }
    planned_.clear();  // the graph's tensors may be gone from here on
}

void probe::read_inputs() {
    if (host_ != nullptr) {
        host_->begin_graph();
    }
    if (bound_.empty()) {
        return;
    }
    const auto read = [&](const tensor_view & at, std::vector<int32_t> & to, int64_t n) {
        to.resize(at ? static_cast<size_t>(n) : 0);
        if (at && n > 0) {
            at.read_ids(to.data(), sizeof(int32_t), scratch_);
        }
    };
    read(tokens_at_, tokens_, graph_.n_tokens);
    read(pos_at_, pos_, pos_at_ ? pos_at_.cols() : 0);
    read(out_ids_at_, out_ids_, out_ids_at_ ? out_ids_at_.cols() : 0);
}

void probe::computed(bool success) {
    pending_ = success && !stopped_by_host() && !bound_.empty();
}

ubatch_buffer & probe::collect() {
    pending_ = false;
    read_.clear();
    const auto n_tokens = static_cast<size_t>(graph_.n_tokens);
    read_.set_tokens(n_tokens);
    std::copy(tokens_.begin(), tokens_.end(), read_.token.begin());
    if (pos_.size() >= n_tokens) {  // M-RoPE has four sections: the first is the position
        std::copy_n(pos_.begin(), n_tokens, read_.pos.begin());
    }
    read_.layout = layout_;
    for (const bound & b : bound_) {
        fill_rows(b);
    }
    return read_;
}

void probe::fill_rows(const bound & b) {
    const auto n_rows   = b.ids ? static_cast<uint32_t>(b.ids.rows()) : 0;
    const bool identity = static_cast<int64_t>(n_rows) == graph_.n_tokens;
    read_.add_block(n_rows, !identity);
    if (!identity) {
        // As many rows as outputs: rows of the tokens whose logits were asked for. Else it is not known.
        const bool outputs = out_ids_.size() == n_rows;
        for (uint32_t r = 0; r < n_rows; ++r) {
            read_.row_tokens()[r] = outputs && out_ids_[r] < graph_.n_tokens ? out_ids_[r] : -1;
        }
    }
    if (n_rows > 0) {
        b.ids.read_ids(read_.ids(), b.layout.id_bytes(), scratch_);
    }
    for (size_t i = 0; i < n_float_columns; ++i) {
        float * to = read_.values(i);
        if (to == nullptr || n_rows == 0) {
            continue;
        }
        const size_t width = b.layout.width(float_columns[i]);
        if (b.columns[i] && b.columns[i].rows() == static_cast<int64_t>(n_rows)) {
            b.columns[i].read_floats(to, scratch_);
        } else if (b.columns[i] && b.columns[i].rows() == graph_.n_tokens &&
                   std::all_of(read_.row_tokens(), read_.row_tokens() + n_rows, [](int32_t t) { return t >= 0; })) {
            // The router read all tokens before the rows that matter were chosen (SmallThinker's last layer).
            all_rows_.resize(static_cast<size_t>(graph_.n_tokens) * width);
            b.columns[i].read_floats(all_rows_.data(), scratch_);
            for (uint32_t r = 0; r < n_rows; ++r) {
                std::copy_n(all_rows_.data() + size_t(read_.row_tokens()[r]) * width, width, to + r * width);
            }
        } else {
            std::fill_n(to, size_t(n_rows) * width, NAN);  // check reports it
            continue;
        }
        if (float_columns[i] == column::norms && b.squared_norms) {
            std::transform(to, to + size_t(n_rows) * b.layout.n_expert_used, to, [](float s) { return std::sqrt(s); });
        }
    }
}

}  // namespace moescope::capture
