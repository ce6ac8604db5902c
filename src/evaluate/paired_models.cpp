#include "evaluate/paired_models.hpp"

#include <optional>

#include "common.h"
#include "llama.h"

#include "capture/session.hpp"
#include "core/error.hpp"
#include "core/fan_out.hpp"
#include "evaluate/vocabulary.hpp"
#include "gguf/first_ids.hpp"
#include "infer/twin_context.hpp"

namespace moescope::evaluate {

// Watches the experts that both contexts select. The full model computes first, so its stream is the first one.
struct paired_models::capturing {
    explicit capturing(paired_models & both)
        : session({column_set(column::ids), {}, capture::mechanism::probes},
                  [&both](uint32_t stream) -> std::unique_ptr<routing_sink> {
                      if (stream > 2) {
                          return nullptr;
                      }
                      return std::make_unique<fan_out>(stream == 1 ? both.full_.log_ : both.changed_.log_);
                  }) {}
    capture::session session;
};

struct paired_models::twin {
    infer::twin_context context;
};

paired_models::paired_models(common_params & params, const std::string & against, infer::llama_log & log,
                             std::function<bool()> interrupted)
    : interrupted_(std::move(interrupted)),
      capture_(std::make_unique<capturing>(*this)),
      engine_(std::make_unique<infer::engine>(params, log, interrupted_)) {
    full_.both_ = changed_.both_ = this;
    full_.context_               = engine_->context();
    if (against.empty()) {
        twin_             = std::make_unique<twin>(twin{infer::twin_context(*engine_, params)});
        changed_.context_ = twin_->context.context();
        return;
    }
    common_params other_params = params;
    other_params.model         = {};
    other_params.model.path    = against;
    other_                     = std::make_unique<infer::engine>(other_params, log, interrupted_);
    changed_.context_          = other_->context();
    full_.log_.name(gguf::read_first_ids(params.model.path));
    changed_.log_.name(gguf::read_first_ids(against));
    const std::string why = vocabulary_difference(engine_->vocab(), other_->vocab());
    if (!why.empty()) {
        throw error("this is no model of the same vocabulary: " + why).in(against);
    }
}

paired_models::~paired_models() = default;

size_t paired_models::n_vocab() const {
    return static_cast<size_t>(llama_vocab_n_tokens(engine_->vocab()));
}

void paired_models::wear(const expert_mask & mask) {
    capture_->session.set_mask(changed_.context_, mask);
}

infer::decoded paired_models::side::decode(const std::vector<infer::batch_token> & tokens) {
    const infer::decoded how = infer::decode(context_, tokens, both_->interrupted_);
    both_->capture_->session.read_pending();
    if (const std::string why = both_->capture_->session.failure(); !why.empty()) {
        throw error(why);
    }
    return how;
}

void paired_models::side::forget() {
    infer::forget(context_);
    log_.clear();
}

const float * paired_models::side::logits() const {
    return llama_get_logits(context_);
}

}  // namespace moescope::evaluate
