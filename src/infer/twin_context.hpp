#pragma once

#include <vector>

#include "llama-cpp.h"

#include "infer/engine.hpp"

namespace moescope::infer {

// A second context of an engine's model, made as its first one was: the same parameters, adapters and way to interrupt. What it
// computes depends on nothing that the first one computes. The engine must outlive it.
class twin_context {
public:
    // params: those that the engine was made of. Throws error naming the model when there is no memory for it.
    twin_context(engine & e, common_params & params);

    llama_context * context() const { return context_.get(); }
    decoded         decode(const std::vector<batch_token> & tokens) {
                return infer::decode(context(), tokens, engine_.interrupted());
    }
    void forget() { infer::forget(context()); }

private:
    engine &          engine_;
    llama_context_ptr context_;
};

}  // namespace moescope::infer
