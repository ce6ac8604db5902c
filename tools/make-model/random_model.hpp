#pragma once

#include "make-model/architecture.hpp"
#include "make-model/gguf_file.hpp"

namespace moescope::make_model {

struct random_options {
    model_shape    shape;
    layout_options layout;
    ggml_type      type = GGML_TYPE_F32;  // of the matrices that quantisers touch, where their width permits
    uint64_t       seed = 1;
};

// Writes a model with random weights. A weight depends on the seed, the tensor's name and its place in the tensor
// alone. Scales keep activations finite and of the order of one, and router logits spread wide enough that tokens
// choose different experts. Throws moescope::error.
void write_random_model(const std::string & path, const random_options & options);

// The weights that write_random_model stores (before conversion to the tensor's type).
fill_row random_weights(const model_layout & layout, uint64_t seed);

// Gives every quantisable matrix of the layout that type; those whose width the type's blocks do not divide stay F32.
void set_matrix_type(model_layout & layout, ggml_type type);

// "q8_0", "F32", … -> type. Throws moescope::usage_error naming the types that can be written.
ggml_type parse_type(const std::string & name);

}  // namespace moescope::make_model
