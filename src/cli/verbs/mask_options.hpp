#pragma once

#include <string>
#include <vector>

#include "core/expert_mask.hpp"

namespace CLI {
class App;
}

namespace moescope::cli {

// --omit, --only and --router-bias, as several verbs take them.
struct mask_options {
    std::vector<std::string> omit, only;
    std::string              bias_file;
};

void add_mask_options(CLI::App & verb, mask_options & o);

// The mask of all three together. Throws usage_error for what is no list, error naming the file where the biases cannot be
// read.
expert_mask read_mask(const mask_options & o);

// The same, and throws usage_error where it does not fit the model; says at once that the output is not the model's own.
expert_mask read_mask(const mask_options & o, const std::string & model_path);

// What a person is told of a program that computes under a mask.
std::string mask_note(const expert_mask & mask);

}  // namespace moescope::cli
