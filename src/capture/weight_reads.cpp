#include "capture/weight_reads.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "capture/node_name.hpp"

namespace moescope::capture {

namespace {

const char * const view_ops[] = {"NONE", "VIEW", "RESHAPE", "PERMUTE", "TRANSPOSE"};

}  // namespace

access_entry weight_read(const ggml_api & api, const ggml_tensor * t) {
    access_entry e;
    e.op = api.ggml_op_name(t->op);
    if (!api.computes(t) ||
        std::any_of(std::begin(view_ops), std::end(view_ops), [&](const char * view) { return e.op == view; })) {
        return e;
    }
    for (ggml_tensor * s : t->src) {
        const ggml_tensor * w    = s ? root_of(s) : nullptr;
        const bool          ours = w != nullptr && std::strncmp(w->name, "moescope.", 9) == 0;
        if (w != nullptr && w->buffer != nullptr && !ours &&
            api.ggml_backend_buffer_get_usage(w->buffer) == GGML_BACKEND_BUFFER_USAGE_WEIGHTS) {
            e.sources.emplace_back(w->name);
        }
    }
    if (e.sources.empty()) {
        return e;
    }
    e.dst   = t->name;
    e.layer = node_name(t->name).il;
    if (e.layer < 0) {
        // Unnamed nodes (a bias, a norm) belong to the layer of the weight they read: blk.<il>.…
        e.layer = e.sources[0].rfind("blk.", 0) == 0 ? std::atoi(e.sources[0].c_str() + 4) : -1;
    }
    return e;
}

access_list find_weight_reads(const ggml_api & api, ggml_tensor ** nodes, int n_nodes, const moe_graph & g) {
    access_list list;
    for (int i = 0; i < n_nodes; ++i) {
        access_entry e = weight_read(api, nodes[i]);
        if (e.sources.empty()) {
            continue;
        }
        for (size_t b = 0; b < g.blocks.size() && e.by_id(); ++b) {
            if (nodes[i]->src[2] == g.blocks[b].ids) {
                e.block = static_cast<int32_t>(b);
            }
        }
        list.push_back(std::move(e));
    }
    return list;
}

}  // namespace moescope::capture
