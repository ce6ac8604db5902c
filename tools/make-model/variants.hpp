#pragma once

#include "make-model/random_model.hpp"

namespace moescope::make_model {

// A small random model that has something which the plain model of its architecture lacks.
struct variant {
    std::string    name;  // also a good file name
    std::string    what;  // one line
    random_options options;
};

// What tests of capture and pruning run over besides every plain architecture.
const std::vector<variant> & variants();

// "bench": layers as a real model has them, written in seconds; what bench/ measures on. Not among variants().
const variant & bench_model();

// One of variants(), or bench_model(). Throws moescope::usage_error when there is none of that name.
const variant & find_variant(const std::string & name);

}  // namespace moescope::make_model
