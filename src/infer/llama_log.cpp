#include "infer/llama_log.hpp"

#include "llama.h"

namespace moescope::infer {

namespace {

// "llama_model_load: error loading model: tensor …" -> "tensor …": the names of functions and the word error say nothing.
std::string without_prefixes(std::string line) {
    for (size_t colon; (colon = line.find(": ")) != std::string::npos;) {
        const std::string head     = line.substr(0, colon);
        const bool        function = head.find(' ') == std::string::npos && head.find('_') != std::string::npos;
        const bool        generic  = head == "error loading model" || head == "error" || head == "exception";
        if (!function && !generic) {
            break;
        }
        line.erase(0, colon + 2);
    }
    return line;
}

}  // namespace

llama_log::llama_log(show_text show) : show_(std::move(show)) {
    llama_log_set(receive, this);
}

llama_log::~llama_log() {
    llama_log_set(nullptr, nullptr);
}

void llama_log::receive(ggml_log_level level, const char * text, void * self) {
    auto &                            log = *static_cast<llama_log *>(self);
    const std::lock_guard<std::mutex> lock(log.mutex_);
    log.level_ = level == GGML_LOG_LEVEL_CONT ? log.level_ : level;
    if (log.level_ == GGML_LOG_LEVEL_ERROR && log.error_.empty()) {
        const std::string line = text;
        log.error_             = line.substr(0, line.find('\n'));
    }
    if (log.show_) {
        log.show_(text);
    }
}

std::string llama_log::take_error() {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::string                       line;
    line.swap(error_);
    return without_prefixes(std::move(line));
}

}  // namespace moescope::infer
