#pragma once

#include "make-model/layout.hpp"

#include <functional>

namespace moescope::make_model {

// Gives the ne[0] values of one row; row counts through ne[1] · ne[2] · ne[3]. Must depend on its arguments alone:
// rows are asked for in any order, from several threads.
using fill_row = std::function<void(const tensor_spec & tensor, int64_t row, float * values)>;

// Writes the layout as a GGUF, tensor by tensor, converting each row to the tensor's type; needs memory for a few MB
// of rows, not for the model. The file appears under its name when it is complete. Throws moescope::error.
void write_gguf(const std::string & path, const model_layout & layout, const fill_row & fill);

// The same file with all weights zero and not stored (a hole): what llama.cpp needs to judge names and shapes.
void write_hollow_gguf(const std::string & path, const model_layout & layout);

}  // namespace moescope::make_model
