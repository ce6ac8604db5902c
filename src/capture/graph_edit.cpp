#include "capture/graph_edit.hpp"

#include <algorithm>
#include <iterator>
#include <optional>
#include <unordered_map>
#include <unordered_set>

namespace moescope::capture {

namespace {

bool laid_out_alike(const ggml_tensor * a, const ggml_tensor * b) {
    return a->type == b->type && std::equal(std::begin(a->ne), std::end(a->ne), b->ne) &&
           std::equal(std::begin(a->nb), std::end(a->nb), b->nb);
}

// Which tensor is read instead of which. Visits a graph's nodes in order.
class rewiring {
public:
    bool empty() const { return replaced_.empty(); }
    void replace(const ggml_tensor * from, int behind, ggml_tensor * to) { replaced_[from] = {behind, to}; }

    void visit(int index, ggml_tensor * t) {
        std::optional<handover> through;
        for (ggml_tensor *& s : t->src) {
            if (const std::optional<handover> h = s != nullptr ? handover_of(s, index) : std::nullopt) {
                through = through ? through : h;
                s       = s == h->from ? h->to : s;
            }
        }
        if (through && t->view_src == root_of(through->from)) {
            t->view_src = root_of(through->to);
            t->view_offs += through->to->view_offs - through->from->view_offs;
            views_[t] = *through;
        }
    }

private:
    struct handover {
        ggml_tensor *from, *to;
    };
    struct replacement {
        int           behind;
        ggml_tensor * to;
    };

    // What the node of this index reads instead of s, or instead of what s is a view of. Replacements may be replaced.
    std::optional<handover> handover_of(ggml_tensor * s, int index) const {
        if (const auto view = views_.find(s); view != views_.end()) {
            return view->second;
        }
        handover h = {s, s};
        for (auto r = replaced_.find(s); r != replaced_.end() && r->second.behind < index; r = replaced_.find(h.to)) {
            h.to = r->second.to;
        }
        return h.to != s ? std::optional(h) : std::nullopt;
    }

    std::unordered_map<const ggml_tensor *, replacement> replaced_;
    std::unordered_map<const ggml_tensor *, handover>    views_;  // that view what replaces `from` now
};

}  // namespace

added_nodes::added_nodes(const ggml_api & api, size_t max_nodes) : api_(api) {
    ggml_init_params params = {};
    params.mem_size         = max_nodes * api_.ggml_tensor_overhead();
    params.no_alloc         = true;
    memory_                 = api_.ggml_init(params);
}

added_nodes::~added_nodes() {
    if (memory_ != nullptr) {
        api_.ggml_free(memory_);
    }
}

void added_nodes::reset() {
    api_.ggml_reset(memory_);
}

void graph_edit::insert(int behind, ggml_tensor * node) {
    replace(nullptr, behind, node);
}

void graph_edit::replace(ggml_tensor * from, int behind, ggml_tensor * node) {
    const int last = api_.ggml_graph_n_nodes(graph_) - 1;
    insertions_.push_back({behind < 0 ? last : std::min(behind, last), node, from, 0});
}

std::string graph_edit::apply() {
    if (insertions_.empty()) {
        return {};
    }
    if (std::string why = refusal(); !why.empty()) {
        return why;
    }
    std::stable_sort(insertions_.begin(), insertions_.end(),
                     [](const insertion & a, const insertion & b) { return a.behind < b.behind; });
    const int n_before = api_.ggml_graph_n_nodes(graph_);
    expand();
    rewire(n_before);
    put_in_place(n_before);
    insertions_.clear();
    return {};
}

// Expanding a full graph aborts the host. Nodes and leaves are listed apart, with the same room for each.
std::string graph_edit::refusal() const {
    const auto room     = static_cast<size_t>(api_.ggml_graph_size(graph_));
    const auto n_before = static_cast<size_t>(api_.ggml_graph_n_nodes(graph_));
    const bool leaves =
        std::any_of(insertions_.begin(), insertions_.end(), [&](const insertion & i) { return reads_leaf(i.node); });
    if (n_before + insertions_.size() > room || (leaves && count_leaves() > room)) {
        return "the graph has no room for the nodes that moescope adds";
    }
    for (const insertion & i : insertions_) {
        if (i.from != nullptr && !laid_out_alike(i.from, i.node)) {
            return std::string("the graph's ") + i.from->name + " has another layout in memory than what replaces it";
        }
    }
    return {};
}

bool graph_edit::reads_leaf(const ggml_tensor * node) const {
    return std::any_of(std::begin(node->src), std::end(node->src),
                       [&](const ggml_tensor * s) { return api_.is(s, GGML_OP_NONE); });
}

size_t graph_edit::count_leaves() const {
    std::unordered_set<const ggml_tensor *> leaves;
    const auto                              add = [&](const ggml_tensor * node) {
        for (const ggml_tensor * s : node->src) {
            if (api_.is(s, GGML_OP_NONE)) {
                leaves.insert(s);
            }
        }
    };
    ggml_tensor ** nodes = api_.ggml_graph_nodes(graph_);
    std::for_each(nodes, nodes + api_.ggml_graph_n_nodes(graph_), add);
    for (const insertion & i : insertions_) {
        add(i.node);
    }
    return leaves.size();
}

void graph_edit::expand() {
    for (insertion & i : insertions_) {
        const int n_nodes = api_.ggml_graph_n_nodes(graph_);
        api_.ggml_build_forward_expand(graph_, i.node);
        i.n_new = api_.ggml_graph_n_nodes(graph_) - n_nodes;
    }
}

void graph_edit::rewire(int n_before) const {
    rewiring                                to;
    std::unordered_set<const ggml_tensor *> own;  // where a graph is edited twice, it holds them already
    for (const insertion & i : insertions_) {
        if (i.from != nullptr) {
            to.replace(i.from, i.behind, i.node);
        }
    }
    if (to.empty()) {
        return;
    }
    for (const insertion & i : insertions_) {
        own.insert(i.node);
    }
    ggml_tensor ** nodes = api_.ggml_graph_nodes(graph_);
    for (int n = 0; n < n_before; ++n) {
        if (own.count(nodes[n]) == 0) {
            to.visit(n, nodes[n]);
        }
    }
}

// Moves what was appended to right behind its source, the last first.
void graph_edit::put_in_place(int n_before) {
    ggml_tensor **                   nodes   = api_.ggml_graph_nodes(graph_);
    const int                        n_nodes = api_.ggml_graph_n_nodes(graph_);
    const std::vector<ggml_tensor *> appended(nodes + n_before, nodes + n_nodes);
    auto                             rest = appended.end();
    ggml_tensor **                   to   = nodes + n_nodes;
    auto                             last = insertions_.rbegin();
    for (int n = n_before - 1; n >= 0 && rest != appended.begin(); --n) {
        for (; last != insertions_.rend() && last->behind == n; ++last) {
            rest -= last->n_new;
            to -= last->n_new;
            std::copy_n(rest, last->n_new, to);
        }
        *--to = nodes[n];
    }
}

}  // namespace moescope::capture
