#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "capture/block_finder.hpp"
#include "capture/graph_edit.hpp"
#include "capture/own_weight.hpp"
#include "capture/scheduler_backends.hpp"
#include "core/expert_mask.hpp"

namespace moescope::capture {

// Masks the routers in one scheduler's graphs, each before its memory is planned (docs/capture.md, "Masks").
//
// The mask's biases are added to the logits, before any activation; omitted experts get -1e30 there, so that a softmax and
// its sum are those of a model without them. Where experts are chosen by other scores (probabilities, with or without a
// bias), omitted ones get -1e30 there as well: a probability of 0 may still win. Where ids come from a table, the graph
// reads a table in which omitted experts are replaced, as `moescope prune` replaces them.
class graph_mask {
public:
    // fixed: only the layers that the mask speaks of are rewired. changeable: all of them, so that set() can mask any.
    enum class kind { fixed, changeable };

    graph_mask(const ggml_api & api, ggml_backend_sched_t sched, expert_mask mask, kind k);

    // Rewires the graph, or leaves it as it is and says why in failure(). mtp: of the model that computes here, where it is
    // known; then layers that the mask names and the graph lacks are a failure too.
    void apply(ggml_cgraph * graph, std::optional<mtp_layers> mtp);

    // Another mask from the next compute on; nothing may compute meanwhile. Throws usage_error where it does not fit the
    // layers that were seen, with the old one in force.
    void set(const expert_mask & mask);

    // Why graphs are not masked, or "".
    const std::string & failure() const { return failure_; }

private:
    enum class place { logits, selection, table };
    // What is read in one place of a layer: biases [n_expert], or a table of ids [k, n_vocab].
    struct leaf {
        std::unique_ptr<own_weight> weight;
        const ggml_tensor *         original = nullptr;  // place::table: the model's own
    };
    // One graph on its way to being masked.
    struct editing {
        graph_edit                                           edit;
        std::unordered_map<const ggml_tensor *, int>         index;  // of the graph's nodes
        std::unordered_set<const ggml_tensor *>              replaced;
        std::vector<std::pair<ggml_tensor *, ggml_tensor *>> renamed;  // the second takes the first's name
    };

    bool   is_masked(const editing & e) const;
    void   check(const moe_graph & found, std::optional<mtp_layers> mtp);
    void   mask_block(const moe_block & b, editing & e);
    void   add_bias(ggml_tensor * scores, const moe_block & b, place where, editing & e);
    void   replace_table(const moe_block & b, editing & e);
    void   replace(ggml_tensor * from, ggml_tensor * to, const moe_block & b, editing & e);
    leaf & leaf_of(int32_t layer, place where, ggml_backend_t backend, ggml_type type, int64_t n0, int64_t n1);
    void   write(int32_t layer, place where, const leaf & l, const expert_mask & mask) const;
    void   write_table(const leaf & l, const std::vector<float> & biases) const;

    const ggml_api &         api_;
    ggml_backend_sched_t     sched_;
    const scheduler_backends backends_;
    expert_mask              mask_;
    const kind               kind_;

    block_finder                              finder_;
    added_nodes                               added_;  // to the current graph
    std::unordered_set<const ggml_tensor *>   own_;    // them
    std::map<std::pair<int32_t, place>, leaf> leaves_;
    std::map<int32_t, router_shape>           routers_;  // of the layers that were seen
    std::string                               failure_;
};

}  // namespace moescope::capture
