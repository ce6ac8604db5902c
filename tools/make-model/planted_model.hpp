#pragma once

#include "make-model/planted_truth.hpp"

namespace moescope::make_model {

// Writes the model that the truth describes, all tensors F32. Throws moescope::error.
void write_planted_model(const std::string & path, const planted_truth & truth);

}  // namespace moescope::make_model
