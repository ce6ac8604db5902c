#pragma once

// Runs a small model on a few tokens and keeps what its routers did.

#include "llama.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

namespace moescope::test {

inline void require(bool holds, const std::string & what) {
    if (!holds) {
        throw std::runtime_error(what);
    }
}

using rows_of_ids    = std::vector<std::vector<int32_t>>;
using rows_of_values = std::vector<std::vector<float>>;

// What llama.cpp's graph says on the way: selected ids, probabilities and raw gates, row by row, with their strides.
// GroveMoE has two blocks under one layer; the second repeats the first's selection and its rows follow the first's.
struct observer {
    std::map<int, rows_of_ids>    ids;
    std::map<int, rows_of_values> probs, selection, weights;

    static const char * tail(const char * name, const char * base) {  // of "base-<digits>", else null
        const size_t n = std::strlen(base);
        return std::strncmp(name, base, n) == 0 && name[n] == '-' &&
                       std::strspn(name + n + 1, "0123456789") == std::strlen(name + n + 1)
                   ? name + n + 1
                   : nullptr;
    }
    static bool callback(ggml_tensor * t, bool ask, void * data) {
        auto *                          self    = static_cast<observer *>(data);
        std::map<int, rows_of_values> * maps[]  = {&self->probs, &self->selection, &self->weights};
        constexpr const char *          bases[] = {"ffn_moe_probs", "ffn_moe_probs_biased", "ffn_moe_weights"};
        if (const char * il = tail(t->name, "ffn_moe_topk")) {
            if (!ask) {
                append(self->ids[std::stoi(il)], *t, t->ne[0], t->nb[0], t->ne[1], t->nb[1]);
            }
            return true;
        }
        for (int i = 0; i < 3; ++i) {
            if (const char * il = tail(t->name, bases[i])) {
                const bool gates = i == 2;  // [1, k, n_tokens]; the others [n_expert, n_tokens]
                if (!ask) {
                    append((*maps[i])[std::stoi(il)], *t, t->ne[gates], t->nb[gates], t->ne[1 + gates],
                           t->nb[1 + gates]);
                }
                return true;
            }
        }
        return false;
    }
    template <class T>
    static void append(std::vector<std::vector<T>> & rows, const ggml_tensor & t, int64_t n, size_t stride,
                       int64_t n_row, size_t row_stride) {
        for (int64_t r = 0; r < n_row; ++r) {
            rows.emplace_back(static_cast<size_t>(n));
            for (int64_t i = 0; i < n; ++i) {
                std::memcpy(&rows.back()[static_cast<size_t>(i)],
                            static_cast<const char *>(t.data) + static_cast<size_t>(r) * row_stride +
                                static_cast<size_t>(i) * stride,
                            sizeof(T));
            }
        }
    }
};

struct run_result {
    observer           seen;
    std::vector<float> outputs;  // [n_token][n_vocab or n_embd]
};

inline bool gives_embeddings(const std::string & arch) {
    return arch == "llama-embed" || arch == "nomic-bert-moe";
}

inline run_result run(const std::string & path, const std::string & arch, int n_token) {
    llama_model_params mparams = llama_model_default_params();
    mparams.use_extra_bufts    = false;
    llama_model * model        = llama_model_load_from_file(path.c_str(), mparams);
    require(model != nullptr, "does not load: " + path);
    run_result           result;
    llama_context_params cparams = llama_context_default_params();
    cparams.n_ctx                = 256;
    cparams.n_threads = cparams.n_threads_batch = 1;
    cparams.type_k = cparams.type_v = GGML_TYPE_F32;  // F16 would turn the last bit of a gate into 1e-3 of a key
    cparams.flash_attn_type         = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    cparams.embeddings              = gives_embeddings(arch);
    cparams.pooling_type            = LLAMA_POOLING_TYPE_NONE;
    cparams.cb_eval                 = observer::callback;
    cparams.cb_eval_user_data       = &result.seen;
    llama_context * ctx             = llama_init_from_model(model, cparams);
    require(ctx != nullptr, "no context");
    llama_batch batch = llama_batch_init(n_token, 0, 1);
    for (int i = 0; i < n_token; ++i) {
        batch.token[i]     = 'a' + 7 * i;
        batch.pos[i]       = i;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i]    = true;
    }
    batch.n_tokens = n_token;
    require(llama_decode(ctx, batch) == 0, "llama_decode fails");
    const int n_value =
        gives_embeddings(arch) ? llama_model_n_embd(model) : llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (int i = 0; i < n_token; ++i) {
        const float * values = gives_embeddings(arch) ? llama_get_embeddings_ith(ctx, i) : llama_get_logits_ith(ctx, i);
        result.outputs.insert(result.outputs.end(), values, values + n_value);
    }
    require(std::all_of(result.outputs.begin(), result.outputs.end(), [](float v) { return std::isfinite(v); }),
            "not finite");
    llama_batch_free(batch);
    llama_free(ctx);
    llama_model_free(model);
    return result;
}

}  // namespace moescope::test
