#pragma once

// Runs a made model as a program would: loads it, decodes, and watches which experts its layers select.

#include "ggml.h"
#include "llama.h"
#include "make-model/architecture.hpp"
#include "make-model/child_process.hpp"
#include "make-model/metadata.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

#include "scratch_folder.hpp"

namespace moescope::test {

using namespace moescope::make_model;

// The experts that each layer selected, over all rows.
struct selections {
    std::map<int, std::set<int32_t>> by_layer;

    static bool callback(ggml_tensor * t, bool ask, void * self) {
        const bool wanted = std::strncmp(t->name, "ffn_moe_topk-", 13) == 0 && std::strchr(t->name, ' ') == nullptr;
        if (ask) {
            return wanted;
        }
        std::set<int32_t> & seen = static_cast<selections *>(self)->by_layer[std::stoi(t->name + 13)];
        for (int64_t row = 0; row < t->ne[1]; row++) {
            for (int64_t i = 0; i < t->ne[0]; i++) {
                int32_t id;
                std::memcpy(&id, static_cast<const char *>(t->data) + row * t->nb[1] + i * t->nb[0], sizeof id);
                seen.insert(id);
            }
        }
        return true;
    }
};

struct context_deleter {
    void operator()(llama_context * ctx) const { llama_free(ctx); }
};
struct model_deleter {
    void operator()(llama_model * model) const { llama_model_free(model); }
};
using context_ptr = std::unique_ptr<llama_context, context_deleter>;
using model_ptr   = std::unique_ptr<llama_model, model_deleter>;

inline model_ptr load(const std::string & path, bool mtp = false) {
    llama_model_params params = llama_model_default_params();
    params.use_extra_bufts    = false;
    params.load_mtp           = mtp;
    model_ptr model(llama_model_load_from_file(path.c_str(), params));
    if (!model) {
        throw std::runtime_error("does not load");
    }
    return model;
}

inline context_ptr make_context(llama_model * model, const std::string & arch, selections & seen,
                                llama_context_type type) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx                = 256;
    params.n_ubatch             = traits_of(arch).causal ? 10 : 256;
    params.n_threads = params.n_threads_batch = 1;
    params.embeddings                         = !traits_of(arch).has_logits;
    params.pooling_type                       = LLAMA_POOLING_TYPE_NONE;
    params.cb_eval                            = selections::callback;
    params.cb_eval_user_data                  = &seen;
    params.ctx_type                           = type;
    context_ptr ctx(llama_init_from_model(model, params));
    if (!ctx) {
        throw std::runtime_error("no context");
    }
    return ctx;
}

inline void check_row(const float * values, int n, int row) {
    if (!std::all_of(values, values + n, [](float v) { return std::isfinite(v); })) {
        throw std::runtime_error("row " + std::to_string(row) + " has an output that is not finite");
    }
    if (std::all_of(values, values + n, [&](float v) { return v == values[0]; })) {
        throw std::runtime_error("row " + std::to_string(row) + " has equal outputs");
    }
}

// A batch of n tokens of sequence 0, from that position on; for an MTP context with a hidden state for each.
struct batch {
    std::vector<llama_token>    tokens;
    std::vector<float>          hidden;
    std::vector<llama_pos>      pos;
    std::vector<int32_t>        n_seq;
    llama_seq_id                seq = 0, *seq_of = &seq;
    std::vector<llama_seq_id *> seqs;
    std::vector<int8_t>         outputs;

    batch(int first, int n, int n_hidden) : n_seq(n, 1), seqs(n, seq_of), outputs(n, 1) {
        for (int i = 0; i < n; i++) {
            tokens.push_back((first + i) * 37 % 256);
            pos.push_back(first + i);
        }
        for (int i = 0; i < n * n_hidden; i++) {
            hidden.push_back(std::sin(0.7f * static_cast<float>(i * i % 1009)));
        }
    }
    llama_batch view() {
        return {static_cast<int32_t>(tokens.size()),
                tokens.data(),
                hidden.empty() ? nullptr : hidden.data(),
                pos.data(),
                n_seq.data(),
                seqs.data(),
                outputs.data()};
    }
};

inline void decode(llama_context * ctx, bool embeds, int first, int n, int n_hidden = 0) {
    batch     b(first, n, n_hidden);
    const int status = llama_decode(ctx, b.view());
    if (status != 0) {
        throw std::runtime_error("llama_decode returned " + std::to_string(status));
    }
    const llama_model * model = llama_get_model(ctx);
    const int n_value         = embeds ? llama_model_n_embd(model) : llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (int i = 0; i < n; i++) {
        check_row(embeds ? llama_get_embeddings_ith(ctx, i) : llama_get_logits_ith(ctx, i), n_value, i);
    }
}

// That the layers in [first, last) chose experts, and not always the same ones (where there is a choice).
inline void check_selections(const selections & seen, const model_shape & s, int first, int last) {
    if (seen.by_layer.empty()) {
        throw std::runtime_error("no layer selects experts");
    }
    for (const auto & [il, ids] : seen.by_layer) {
        if (il < first || il >= last) {
            throw std::runtime_error("layer " + std::to_string(il) + " selects experts");
        }
        if (s.n_expert_used < s.n_expert && ids.size() <= s.n_expert_used) {
            throw std::runtime_error("layer " + std::to_string(il) + " always selects the same experts");
        }
    }
}

// Loads the file, decodes a prompt in several ubatches and then token by token; then its MTP block, if it has one.
// Throws on anything wrong.
inline void use_model(const std::string & path, const model_shape & shape) {
    const model_shape s       = complete(shape);
    const int         n_layer = static_cast<int>(s.n_layer), n_all = n_layer + static_cast<int>(s.n_layer_nextn);
    {
        const model_ptr   model = load(path);
        selections        seen;
        const context_ptr ctx = make_context(model.get(), s.arch, seen, LLAMA_CONTEXT_TYPE_DEFAULT);
        decode(ctx.get(), !traits_of(s.arch).has_logits, 0, 24);
        for (int i = 0; i < 8; i++) {
            decode(ctx.get(), !traits_of(s.arch).has_logits, 24 + i, 1);
        }
        check_selections(seen, s, 0, n_layer);
    }
    if (n_all > n_layer) {
        const model_ptr   model = load(path, true);
        selections        seen;
        const context_ptr ctx = make_context(model.get(), s.arch, seen, LLAMA_CONTEXT_TYPE_MTP);
        decode(ctx.get(), false, 0, 24, llama_model_n_embd_out(model.get()));
        check_selections(seen, s, n_layer, n_all);
    }
}

inline std::string error_of_using(const std::string & path, const model_shape & shape) {
    return run_in_child([&](const send_fn &) { use_model(path, shape); }).error;
}

}  // namespace moescope::test
