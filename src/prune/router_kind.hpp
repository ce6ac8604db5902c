#pragma once

#include "gguf/metadata.hpp"

namespace moescope::prune {

// What removing experts does to the gates of those that stay. A removed expert can never be selected, but it may have
// had a part in the numbers of the others.
enum class router_effect {
    none,          // gates do not depend on unselected experts: normalised after the selection, or a sigmoid each
    scales_gates,  // a softmax over all experts, not normalised after the selection: gates grow by a common factor
};

// Follows what llama.cpp's graphs pass to build_moe_ffn, per architecture where it is fixed there.
router_effect find_router_effect(const gguf::model_metadata & metadata, const std::string & arch);

// Llama.cpp softmaxes first and adds the selection bias then (ERNIE 4.5, MiniMax-01): with fewer experts the
// probabilities grow against the bias, and other experts may be selected.
bool adds_bias_to_softmax(const gguf::model_metadata & metadata, const std::string & arch, bool has_selection_bias);

}  // namespace moescope::prune
