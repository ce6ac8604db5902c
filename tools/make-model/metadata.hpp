#pragma once

#include "make-model/layout.hpp"
#include "make-model/shape.hpp"

namespace moescope::make_model {

// Fills in what the shape leaves to the architecture. Throws moescope::error on an architecture llama.cpp does not know.
model_shape complete(model_shape shape);

// The GGUF metadata of a model of that (completed) shape, with the byte-level tokenizer.
// It is the union of what architectures of the kind read; llama.cpp ignores keys that one of them does not know.
gguf_ptr make_metadata(const model_shape & shape);

}  // namespace moescope::make_model
