#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "capture/ggml_api.hpp"

namespace moescope::capture {

// Memory for the nodes that are added to a graph: they live as long as it does, until the next reset(). Their values lie
// where the scheduler puts them.
class added_nodes {
public:
    added_nodes(const ggml_api & api, size_t max_nodes);
    ~added_nodes();
    added_nodes(const added_nodes &)             = delete;
    added_nodes & operator=(const added_nodes &) = delete;

    explicit       operator bool() const { return memory_ != nullptr; }  // false: there was no memory
    ggml_context * memory() const { return memory_; }
    void           reset();

private:
    const ggml_api & api_;
    ggml_context *   memory_;
};

// Adds nodes to a graph that is built, but not yet planned by a scheduler. It collects what shall be done, then does all of it
// or nothing.
//
// ggml counts each tensor's readers while a graph is built, to see what a backend may fuse. A replaced tensor keeps its
// count, and what replaces it has none, so that neither is fused with its readers.
class graph_edit {
public:
    graph_edit(const ggml_api & api, ggml_cgraph * graph) : api_(api), graph_(graph) {}

    // `node` is computed right behind the graph's node of this index (counted before the edit; -1: at the end), so that what
    // it reads need not outlive it. Behind one node they come in the order in which they were inserted. If a node reads another
    // new one, that one is inserted first; leaves are not inserted.
    void insert(int behind, ggml_tensor * node);

    // Inserts `node`, and what the graph computes behind it reads `node` where it read `from`, or a view of it. Nodes of this
    // edit go on reading what they were made with. `from` and `node` have the same type, shape and strides. `from` may be what
    // this edit put in place of another tensor, but no view of a tensor that it replaces.
    void replace(ggml_tensor * from, int behind, ggml_tensor * node);

    // Does it. Returns why the graph was left as it is, or "".
    std::string apply();

private:
    struct insertion {
        int           behind;  // index of the node it follows
        ggml_tensor * node;
        ggml_tensor * from;   // what it replaces, or null
        int           n_new;  // how many nodes its expansion appended
    };

    std::string refusal() const;
    bool        reads_leaf(const ggml_tensor * node) const;
    size_t      count_leaves() const;
    void        expand();
    void        rewire(int n_before) const;
    void        put_in_place(int n_before);

    const ggml_api &       api_;
    ggml_cgraph *          graph_;
    std::vector<insertion> insertions_;
};

}  // namespace moescope::capture
