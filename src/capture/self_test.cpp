#include "capture/self_test.hpp"

#include <cstring>

namespace moescope::capture {

namespace {

std::string test_node(const ggml_api & api, const ggml_tensor * t) {
    if (api.ggml_get_name(t) != t->name || std::memchr(t->name, 0, sizeof(t->name)) == nullptr) {
        return "names are elsewhere";
    }
    if (api.ggml_get_data(t) != t->data) {
        return "data pointers are elsewhere";
    }
    if (t->type < 0 || t->type >= GGML_TYPE_COUNT || api.ggml_type_name(t->type) == nullptr) {
        return "types are elsewhere";
    }
    if (api.ggml_nelements(t) != t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]) {
        return "shapes are elsewhere";
    }
    size_t bytes = api.ggml_element_size(t);
    for (int i = 0; i < GGML_MAX_DIMS; ++i) {
        bytes += size_t(t->ne[i] - 1) * t->nb[i];
    }
    const bool plain = t->type == GGML_TYPE_F32 || t->type == GGML_TYPE_I32;
    if (plain && api.ggml_nelements(t) > 0 && api.ggml_nbytes(t) != bytes) {
        return "strides are elsewhere";
    }
    return {};
}

}  // namespace

std::string test_nodes(const ggml_api & api, ggml_tensor ** nodes, int n_nodes) {
    for (int i = 0; i < n_nodes && i < 64; ++i) {
        if (std::string wrong = test_node(api, nodes[i]); !wrong.empty()) {
            return wrong;
        }
    }
    return {};
}

std::string test_blocks(const ggml_api & api, const moe_graph & g) {
    for (const moe_block & b : g.blocks) {
        for (const ggml_tensor * t :
             {static_cast<const ggml_tensor *>(b.ids), static_cast<const ggml_tensor *>(b.weights)}) {
            if (std::string wrong = test_node(api, t); !wrong.empty()) {
                return wrong;
            }
        }
        if (b.ids->type != GGML_TYPE_I32 || b.weights->type != GGML_TYPE_F32 || b.ids->nb[0] != sizeof(int32_t)) {
            return "expert ids are not 32-bit integers, or gates not 32-bit floats";
        }
        if (b.ids->ne[0] < 1 || b.ids->ne[0] > b.experts->ne[2] ||
            b.ids->ne[0] * b.ids->ne[1] != b.weights->ne[0] * b.weights->ne[1] * b.weights->ne[2]) {
            return "ids, gates and experts do not fit together";
        }
        if (b.expert_output != nullptr && b.expert_output->type != GGML_TYPE_F32) {
            return "expert outputs are not 32-bit floats";
        }
        if (api.is(b.topk, GGML_OP_VIEW) && b.topk->view_src != b.topk->src[0]) {
            return "views are elsewhere";
        }
    }
    return {};
}

bool known_ggml_version(const char * version) {
    return std::strcmp(version, "0.25.1") == 0;  // llama.cpp v0.5.0
}

}  // namespace moescope::capture
