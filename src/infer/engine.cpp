#include "infer/engine.hpp"

#include "common.h"
#include "llama-cpp.h"
#include "llama.h"

#include "core/error.hpp"
#include "infer/backends.hpp"

namespace moescope::infer {

namespace {

std::string reason(llama_log & log) {
    const std::string said = log.take_error();
    return said.empty() ? "llama.cpp gives no reason" : said;
}

struct batch_holder {
    explicit batch_holder(size_t n) : batch(llama_batch_init(static_cast<int32_t>(n), 0, 1)) {}
    ~batch_holder() { llama_batch_free(batch); }
    batch_holder(const batch_holder &)             = delete;
    batch_holder & operator=(const batch_holder &) = delete;
    llama_batch    batch;
};

}  // namespace

engine::engine(common_params & params, llama_log & log, std::function<bool()> interrupted)
    : log_(log),
      interrupted_(std::move(interrupted)) {
    load_backends();
    init_ = common_init_from_params(params);
    if (init_->model() == nullptr) {
        throw error("cannot load the model: " + reason(log)).in(params.model.path);
    }
    if (init_->context() == nullptr) {
        const std::string advice =
            params.lora_adapters.empty() ? "try a smaller -c" : "check that the --lora adapter was made for this model";
        throw error("cannot create a context: " + reason(log)).in(params.model.path).fix(advice);
    }
    log_.take_error();  // what llama.cpp tried and gave up on the way is no failure
    set_interrupt(init_->context(), interrupted_);
}

engine::~engine() = default;

llama_context * engine::context() const {
    return init_->context();
}
llama_model * engine::model() const {
    return init_->model();
}
common_sampler * engine::sampler() const {
    return init_->sampler(0);
}
const llama_vocab * engine::vocab() const {
    return llama_model_get_vocab(model());
}
uint32_t engine::n_ctx() const {
    return llama_n_ctx(context());
}
uint32_t engine::n_ubatch() const {
    return llama_n_ubatch(context());
}
bool engine::can_generate() const {
    return llama_get_memory(context()) != nullptr && llama_model_has_decoder(model()) &&
           !llama_model_has_encoder(model());
}

std::vector<int32_t> engine::tokenize(const std::string & text) const {
    return common_tokenize(vocab(), text, true, true);
}

std::string engine::piece(int32_t token) const {
    return common_token_to_piece(vocab(), token, false);
}

bool engine::ends_generation(int32_t token) const {
    return llama_vocab_is_eog(vocab(), token);
}

decoded decode(llama_context * context, const std::vector<batch_token> & tokens,
               const std::function<bool()> & interrupted) {
    batch_holder holder(tokens.size());
    for (const batch_token & t : tokens) {
        common_batch_add(holder.batch, t.token, t.pos, {t.seq}, t.logits);
    }
    const int32_t rc = llama_decode(context, holder.batch);
    llama_synchronize(context);
    if (rc == 0) {
        return decoded::ok;
    }
    if (rc == 2 || (interrupted && interrupted())) {  // an abort may surface as a failure of what came behind it
        return decoded::aborted;
    }
    return rc == 1 ? decoded::no_room : decoded::failed;
}

void set_interrupt(llama_context * context, const std::function<bool()> & interrupted) {
    llama_set_abort_callback(
        context,
        [](void * asked) {
            const auto & ask = *static_cast<const std::function<bool()> *>(asked);
            return ask && ask();
        },
        const_cast<std::function<bool()> *>(&interrupted));
}

void forget(llama_context * context) {
    if (llama_memory_t memory = llama_get_memory(context)) {
        llama_memory_clear(memory, false);
    }
}

}  // namespace moescope::infer
