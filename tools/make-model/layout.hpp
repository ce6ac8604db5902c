#pragma once

#include "ggml.h"
#include "gguf.h"

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace moescope::make_model {

struct gguf_deleter {
    void operator()(gguf_context * kv) const { gguf_free(kv); }
};
using gguf_ptr = std::unique_ptr<gguf_context, gguf_deleter>;

struct tensor_spec {
    std::string            name;
    ggml_type              type = GGML_TYPE_F32;
    std::array<int64_t, 4> ne   = {1, 1, 1, 1};

    int64_t n_rows() const { return ne[1] * ne[2] * ne[3]; }
    int64_t n_elements() const { return ne[0] * n_rows(); }
    int     n_dims() const;

    bool is(const std::string & suffix) const;  // name ends so: is("ffn_down_exps.weight")
    bool contains(const std::string & part) const { return name.find(part) != std::string::npos; }
    int  layer() const;  // il of "blk.<il>.…", else -1
};

// A model without its weights: the metadata and the tensors llama.cpp asks for, in its order.
struct model_layout {
    std::string              arch;
    gguf_ptr                 kv;
    std::vector<tensor_spec> tensors;
};

// An expert weight matrix, one slab per expert: 3-D with a name of the "_exps.weight" kind (also GroveMoE's _chexps).
bool is_expert_matrix(const tensor_spec & tensor);

}  // namespace moescope::make_model
