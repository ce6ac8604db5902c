#include "infer/twin_context.hpp"

#include "common.h"

#include "core/error.hpp"

namespace moescope::infer {

namespace {

void set_control_vectors(llama_context * context, const common_params & params) {
    if (params.control_vectors.empty()) {
        return;
    }
    const auto vectors = common_control_vector_load(params.control_vectors);
    if (vectors.n_embd == -1 ||
        llama_set_adapter_cvec(context, vectors.data.data(), vectors.data.size(), vectors.n_embd,
                               params.control_vector_layer_start, params.control_vector_layer_end) != 0) {
        throw error("the control vector does not fit the model").in(params.model.path);
    }
}

}  // namespace

twin_context::twin_context(engine & e, common_params & params)
    : engine_(e),
      context_(llama_init_from_model(e.model(), common_context_params_to_llama(params))) {
    if (!context_) {
        const std::string said = e.last_error();
        throw error("cannot make a second context: " + (said.empty() ? "llama.cpp gives no reason" : said))
            .in(params.model.path)
            .fix("try a smaller -c");
    }
    set_interrupt(context(), e.interrupted());
    set_control_vectors(context(), params);
    if (!params.lora_init_without_apply) {
        common_set_adapter_lora(context(), params.lora_adapters);
    }
}

}  // namespace moescope::infer
