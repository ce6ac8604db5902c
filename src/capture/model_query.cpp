#include "capture/model_query.hpp"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace moescope::capture {

namespace {

// One string out of an llama.cpp getter that takes (buffer, size) and returns the length.
template <class Getter>
std::string text_of(Getter get) {
    std::string buffer(256, '\0');
    int32_t     n = get(buffer.data(), buffer.size());
    if (n >= static_cast<int32_t>(buffer.size())) {
        buffer.resize(static_cast<size_t>(n) + 1);
        n = get(buffer.data(), buffer.size());
    }
    buffer.resize(n > 0 ? std::min(static_cast<size_t>(n), buffer.size()) : 0);
    return buffer;
}

const std::string & find(const model_info & m, const std::string & key) {
    static const std::string none;
    for (const auto & [k, v] : m.metadata) {
        if (k == key) {
            return v;
        }
    }
    return none;
}

uint32_t number(const std::string & text) {
    return static_cast<uint32_t>(std::strtoul(text.c_str(), nullptr, 10));
}

bool speaks_of_routing(const std::string & key) {
    for (const char * word : {"expert", "nextn_predict_layers", "block_count", "embedding_length", "general.file_type",
                              "general.quantization_version", "general.size_label"}) {
        if (key.find(word) != std::string::npos) {
            return true;
        }
    }
    return false;
}

}  // namespace

model_info query_model(const ggml_api & api, const llama_context * ctx) {
    model_info m;
    if (ctx == nullptr || api.llama_get_model == nullptr || api.llama_model_meta_count == nullptr ||
        api.llama_model_meta_key_by_index == nullptr || api.llama_model_meta_val_str_by_index == nullptr) {
        return m;
    }
    const llama_model * model = api.llama_get_model(ctx);
    for (int32_t i = 0; i < api.llama_model_meta_count(model); ++i) {
        const std::string key =
            text_of([&](char * b, size_t n) { return api.llama_model_meta_key_by_index(model, i, b, n); });
        const auto value = [&] {
            return text_of([&](char * b, size_t n) { return api.llama_model_meta_val_str_by_index(model, i, b, n); });
        };
        if (key == "general.architecture") {
            m.architecture = value();
        } else if (key == "general.name") {
            m.name = value();
        } else if (speaks_of_routing(key)) {
            m.metadata.emplace_back(key, value());
        }
    }
    m.n_layer = number(find(m, m.architecture + ".block_count"));
    m.n_layer -= std::min(m.n_layer, number(find(m, m.architecture + ".nextn_predict_layers")));
    m.n_expert      = number(find(m, m.architecture + ".expert_count"));
    m.n_expert_used = number(find(m, m.architecture + ".expert_used_count"));
    m.n_embd        = number(find(m, m.architecture + ".embedding_length"));
    if (api.llama_model_get_vocab != nullptr && api.llama_vocab_n_tokens != nullptr) {
        m.n_vocab = static_cast<uint32_t>(api.llama_vocab_n_tokens(api.llama_model_get_vocab(model)));
    }
    return m;
}

mtp_layers mtp_layers_of(const model_info & m) {
    return {number(find(m, m.architecture + ".nextn_predict_layers")) > 0 ? m.n_layer : 0};
}

std::string file_behind(const void * address) {
    std::FILE * maps = address != nullptr ? std::fopen("/proc/self/maps", "re") : nullptr;
    if (maps == nullptr) {
        return {};
    }
    const auto  at = reinterpret_cast<uintptr_t>(address);
    std::string file;
    char *      line = nullptr;
    size_t      size = 0;
    while (::getline(&line, &size, maps) > 0) {
        uintptr_t first = 0, last = 0;
        int       path = 0;
        if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %*s %n", &first, &last, &path) < 2 || at < first ||
            at >= last) {
            continue;
        }
        file = line + path;
        while (!file.empty() && file.back() == '\n') {
            file.pop_back();
        }
        break;
    }
    std::free(line);
    std::fclose(maps);
    return !file.empty() && file[0] == '/' ? file : std::string();
}

bool token_text(const ggml_api & api, const llama_context * ctx, int32_t token, std::string & text) {
    if (ctx == nullptr || api.llama_get_model == nullptr || api.llama_model_get_vocab == nullptr ||
        api.llama_vocab_n_tokens == nullptr || api.llama_token_to_piece == nullptr) {
        return false;
    }
    const llama_vocab * vocab = api.llama_model_get_vocab(api.llama_get_model(ctx));
    if (token < 0 || token >= api.llama_vocab_n_tokens(vocab)) {
        return false;
    }
    text.resize(64);
    int32_t n = api.llama_token_to_piece(vocab, token, text.data(), static_cast<int32_t>(text.size()), 0, true);
    if (n < 0) {
        text.resize(static_cast<size_t>(-n));
        n = api.llama_token_to_piece(vocab, token, text.data(), static_cast<int32_t>(text.size()), 0, true);
    }
    text.resize(static_cast<size_t>(std::max(n, 0)));
    return n > 0;
}

}  // namespace moescope::capture
