// model-probe METADATA.gguf: prints every tensor, required or optional, that llama.cpp creates for a model of this metadata,
// "name type ne0 ne1 ne2 ne3", without a file of weights (llama_model_init_from_user).
//
// A program of its own because it needs llama.cpp as it is: node-llama-cpp's prebuilt libraries carry a patch (llama.cpp's pull
// request 22566) after which only tensors that the metadata lists are created.

#include <cinttypes>
#include <cstdio>

#include "ggml-backend.h"
#include "gguf.h"
#include "llama.h"

namespace {

void errors_only(ggml_log_level level, const char * text, void *) {
    if (level == GGML_LOG_LEVEL_ERROR) {
        std::fputs(text, stderr);
    }
}

// The tensor's memory stays untouched.
void print_tensor(ggml_tensor * t, void *) {
    std::printf("%s %d %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n", t->name, t->type, t->ne[0], t->ne[1],
                t->ne[2], t->ne[3]);
}

}  // namespace

int main(int argc, char ** argv) {
    if (argc != 2) {
        std::fputs("usage: model-probe METADATA.gguf\n", stderr);
        return 2;
    }
    llama_log_set(errors_only, nullptr);
    const gguf_init_params only_metadata = {true, nullptr};
    gguf_context *         metadata      = gguf_init_from_file(argv[1], only_metadata);
    if (metadata == nullptr) {
        return 1;
    }
    ggml_backend_dev_t no_device[] = {nullptr};
    llama_model_params params      = llama_model_default_params();
    params.devices                 = no_device;
    params.load_mtp                = true;
    params.progress_callback       = [](float, void *) { return true; };
    llama_model * model            = llama_model_init_from_user(metadata, print_tensor, nullptr, params);
    if (model == nullptr) {
        std::fputs("llama_model_init_from_user failed", stderr);
        return 1;
    }
    std::fflush(stdout);
    llama_model_free(model);
    return 0;
}
