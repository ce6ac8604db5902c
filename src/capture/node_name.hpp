#pragma once

#include <cstdint>
#include <string_view>

namespace moescope::capture {

// A graph node's name taken apart: "ffn_moe_topk-12" -> base "ffn_moe_topk", il 12. Copies that the scheduler makes for
// another device ("CUDA0#ffn_moe_topk-12#0") count under their original's name; views and reshapes
// ("ffn_moe_topk-12 (view)") and names without a layer have il -1 (docs/capture.md, trap 2).
struct node_name {
    std::string_view base;
    int32_t          il = -1;

    explicit node_name(std::string_view name);
    bool is(std::string_view other_base) const { return il >= 0 && base == other_base; }
};

}  // namespace moescope::capture
