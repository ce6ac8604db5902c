#pragma once

#include <string>

struct llama_vocab;

namespace moescope::evaluate {

// Why the probabilities of two vocabularies cannot be compared token by token; empty where they can.
std::string vocabulary_difference(const llama_vocab * a, const llama_vocab * b);

}  // namespace moescope::evaluate
