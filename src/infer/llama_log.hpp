#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "ggml.h"

namespace moescope::infer {

// Takes over what llama.cpp logs while it lives: keeps the last error line, which explains why a load or a decode failed,
// and hands every text to `show` where there is one. One at a time: llama.cpp has one log per process.
class llama_log {
public:
    using show_text = std::function<void(const std::string & text)>;

    explicit llama_log(show_text show = {});
    ~llama_log();
    llama_log(const llama_log &)             = delete;
    llama_log & operator=(const llama_log &) = delete;

    // The first error line since the last call, without its "function: " prefixes; empty when there was none.
    std::string take_error();

private:
    static void receive(ggml_log_level level, const char * text, void * self);

    std::mutex     mutex_;
    show_text      show_;
    std::string    error_;
    ggml_log_level level_ = GGML_LOG_LEVEL_NONE;  // of the text before, which a CONT text continues
};

}  // namespace moescope::infer
