#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "infer/llama_log.hpp"

struct common_init_result;
struct common_params;
struct common_sampler;
struct llama_context;
struct llama_model;
struct llama_vocab;

namespace moescope::infer {

// How a llama_decode ended.
enum class decoded { ok, no_room, aborted, failed };

// One token of a batch.
struct batch_token {
    int32_t token;
    int32_t pos;
    int32_t seq;
    bool    logits;  // its row is wanted
};

// Computes at most n_ubatch tokens in a context and waits for them. `interrupted`, where there is one, says whether a failure
// was an abort.
decoded decode(llama_context * context, const std::vector<batch_token> & tokens,
               const std::function<bool()> & interrupted);

// Lets `interrupted` end the context's long computations (on the CPU); it must outlive the context.
void set_interrupt(llama_context * context, const std::function<bool()> & interrupted);

// Clears a context's memory: the next batch begins new sequences.
void forget(llama_context * context);

// A model with its one context, sampler, adapters and thread pools, as llama.cpp's `common` sets them up.
class engine {
public:
    // Loads params.model.path. Throws error naming the file with llama.cpp's own reason.
    // `interrupted` is asked during long computations (on the CPU): true makes the decode end as decoded::aborted.
    engine(common_params & params, llama_log & log, std::function<bool()> interrupted);
    ~engine();
    engine(const engine &)             = delete;
    engine & operator=(const engine &) = delete;

    llama_context *     context() const;
    llama_model *       model() const;
    const llama_vocab * vocab() const;
    common_sampler *    sampler() const;

    uint32_t n_ctx() const;         // tokens the context holds
    uint32_t n_ubatch() const;      // tokens of one decode
    bool     can_generate() const;  // has a decoder with a memory and a language head

    // The text's tokens, with BOS (and EOS) as the model wants; special tokens in the text are parsed.
    std::vector<int32_t> tokenize(const std::string & text) const;
    std::string          piece(int32_t token) const;  // special tokens render as nothing
    bool                 ends_generation(int32_t token) const;

    decoded decode(const std::vector<batch_token> & tokens) { return infer::decode(context(), tokens, interrupted_); }
    void    forget() { infer::forget(context()); }
    std::string last_error() { return log_.take_error(); }

    const std::function<bool()> & interrupted() const { return interrupted_; }

private:
    std::unique_ptr<common_init_result> init_;
    llama_log &                         log_;
    std::function<bool()>               interrupted_;
};

}  // namespace moescope::infer
