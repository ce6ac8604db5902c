#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct ggml_tensor;

namespace moescope::infer {

// Collects the nodes of the graphs that a context computes, in execution order, through ggml's eval callback. It asks for
// no node's data, so the computation is the same.
class tensor_list {
public:
    struct node {
        std::string name;
        std::string op;     // ggml's name, e.g. "MUL_MAT_ID"
        std::string type;   // e.g. "f32"
        int64_t     ne[4];  // elements per dimension, ne[0] the fastest
    };

    // As llama_context_params.cb_eval, with a tensor_list as user data.
    static bool callback(ggml_tensor * t, bool ask, void * self);

    const std::vector<node> & nodes() const { return nodes_; }

private:
    std::vector<node> nodes_;
};

}  // namespace moescope::infer
