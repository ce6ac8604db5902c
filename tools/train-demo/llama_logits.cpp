// What llama.cpp makes of a model, for check.py to compare with the trainer.
//   llama_logits MODEL tokenize           text on stdin  -> token ids (i32) on stdout
//   llama_logits MODEL logits N_CTX       ids (i32) on stdin, taken in windows of N_CTX without common context
//                                         -> logits (f32, n_vocab per token) on stdout
#include <llama.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

static void fail(const char * what) {
    fprintf(stderr, "llama_logits: %s\n", what);
    exit(1);
}

static std::string read_stdin() {
    std::string all;
    char        buf[1 << 16];
    for (size_t n; (n = fread(buf, 1, sizeof buf, stdin)) > 0;) {
        all.append(buf, n);
    }
    return all;
}

static void tokenize(const llama_vocab * vocab) {
    const std::string        text = read_stdin();
    std::vector<llama_token> ids(text.size() + 1);
    const int                n = llama_tokenize(vocab, text.data(), text.size(), ids.data(), ids.size(), false, false);
    if (n < 0) {
        fail("tokenize failed");
    }
    fwrite(ids.data(), sizeof ids[0], n, stdout);
}

static void logits(llama_model * model, int n_ctx) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx = params.n_batch = params.n_ubatch = n_ctx;
    params.type_k = params.type_v = GGML_TYPE_F32;
    std::unique_ptr<llama_context, decltype(&llama_free)> ctx(llama_init_from_model(model, params), llama_free);
    if (!ctx) {
        fail("no context");
    }
    const std::string bytes   = read_stdin();
    const auto *      ids     = reinterpret_cast<const llama_token *>(bytes.data());
    const size_t      n_ids   = bytes.size() / sizeof ids[0];
    const size_t      n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    llama_batch       batch   = llama_batch_init(n_ctx, 0, 1);
    for (size_t start = 0; start < n_ids; start += batch.n_tokens) {
        batch.n_tokens = std::min<size_t>(n_ctx, n_ids - start);
        for (int i = 0; i < batch.n_tokens; i++) {
            batch.token[i]     = ids[start + i];
            batch.pos[i]       = i;
            batch.n_seq_id[i]  = 1;
            batch.seq_id[i][0] = 0;
            batch.logits[i]    = true;
        }
        llama_memory_clear(llama_get_memory(ctx.get()), true);
        if (llama_decode(ctx.get(), batch) != 0) {
            fail("decode failed");
        }
        fwrite(llama_get_logits(ctx.get()), sizeof(float), n_vocab * batch.n_tokens, stdout);
    }
    llama_batch_free(batch);
}

int main(int argc, char ** argv) {
    const std::string mode = argc > 2 ? argv[2] : "";
    if (!(mode == "tokenize" && argc == 3) && !(mode == "logits" && argc == 4)) {
        fail("usage: llama_logits MODEL tokenize | llama_logits MODEL logits N_CTX");
    }
    ggml_backend_load_all();
    llama_log_set(
        [](ggml_log_level level, const char * text, void *) {
            if (level >= GGML_LOG_LEVEL_ERROR) {
                fputs(text, stderr);
            }
        },
        nullptr);
    llama_model_params params = llama_model_default_params();
    params.vocab_only         = mode == "tokenize";
    params.use_extra_bufts    = false;  // ggml's AMX kernels crash (SIGILL) when built with GCC 12
    params.progress_callback  = [](float, void *) { return true; };  // else it prints dots
    std::unique_ptr<llama_model, decltype(&llama_model_free)> model(llama_model_load_from_file(argv[1], params),
                                                                    llama_model_free);
    if (!model) {
        fail("cannot load the model");
    }
    if (mode == "tokenize") {
        tokenize(llama_model_get_vocab(model.get()));
    } else {
        logits(model.get(), atoi(argv[3]));
    }
}
