#pragma once

#include "make-model/layout.hpp"
#include "make-model/shape.hpp"

#include <functional>
#include <string>
#include <vector>

namespace moescope::make_model {

// Which of the tensors that llama.cpp can do without a model gets.
struct layout_options {
    bool biases        = false;  // optional biases: attention, dense and shared feed-forward
    bool scales        = false;  // optional per-tensor and per-expert scales ("….scale", "….input_scale")
    bool fused_gate_up = false;  // one ffn_gate_up_exps instead of ffn_gate_exps and ffn_up_exps
};

// Asks llama.cpp (in a child process: an assertion there must not end the caller) which tensors a model of that shape
// has, and leaves out the optional ones that are not wanted. Throws moescope::error with llama.cpp's own words.
model_layout make_layout(const model_shape & shape, const layout_options & options = {});

// All names in llama.cpp's own list of architectures.
std::vector<std::string> all_architectures();

// Those that have expert matrices when given 8 experts, and what llama.cpp said of those that could not be tried.
struct architecture_survey {
    std::vector<std::string> moe;
    std::vector<std::string> dense;
    struct failure {
        std::string arch, error;
    };
    std::vector<failure> failed;
};
const architecture_survey & survey_architectures();

std::vector<std::string> moe_architectures();  // survey_architectures().moe

// What a test that runs a model must know about its architecture.
struct architecture_traits {
    bool causal        = true;  // false: attends in both directions, the whole prompt must be one ubatch
    bool has_logits    = true;  // false: gives embeddings (llama_context_params.embeddings)
    bool reads_experts = true;  // false: llama.cpp loads its experts, but the graph is dense
};
architecture_traits traits_of(const std::string & arch);

}  // namespace moescope::make_model
