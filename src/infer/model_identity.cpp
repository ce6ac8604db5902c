#include "infer/model_identity.hpp"

#include <cstdlib>

#include <sys/stat.h>

#include "llama.h"

#include "gguf/head.hpp"
#include "io/path.hpp"

namespace moescope::infer {

namespace {

uint32_t meta_number(const llama_model * model, const std::string & key) {
    char text[32] = {};
    return llama_model_meta_val_str(model, key.c_str(), text, sizeof(text)) > 0
               ? static_cast<uint32_t>(std::strtoul(text, nullptr, 10))
               : 0;
}

}  // namespace

model_info describe_model(const llama_model * model, const std::string & path) {
    const gguf::model_head head = gguf::read_head(path);
    struct stat            s    = {};
    model_info             m;
    m.architecture  = head.architecture;
    m.name          = head.name;
    m.file          = io::base_name(path);
    m.file_size     = ::stat(path.c_str(), &s) == 0 ? static_cast<uint64_t>(s.st_size) : 0;
    m.n_layer       = static_cast<uint32_t>(llama_model_n_layer(model));
    m.n_expert      = head.n_expert;
    m.n_expert_used = meta_number(model, head.architecture + ".expert_used_count");
    m.n_embd        = static_cast<uint32_t>(llama_model_n_embd(model));
    m.n_vocab       = static_cast<uint32_t>(llama_vocab_n_tokens(llama_model_get_vocab(model)));
    return m;
}

}  // namespace moescope::infer
