// The program that bench/capture-cost runs with and without the recorder: it loads a model, and for every line that it reads
// computes a prompt ("prompt") or the next N tokens behind it ("decode N"), and prints the wall and processor time of it as a
// JSON line. The tokens are fixed, so that every run computes the same; nothing here knows of moescope.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <llama.h>

namespace {

struct options {
    std::string model;
    int         n_prompt   = 128;
    int         n_generate = 16;
    int         n_threads  = 2;
    int         n_gpu      = 99;
    bool        all_logits = false;  // what it costs to ask for every row's logits, as `moescope run` does
};

double wall_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// User and system time of all threads of this process, in seconds.
double cpu_now() {
    rusage u = {};
    getrusage(RUSAGE_SELF, &u);
    const auto seconds = [](timeval t) { return double(t.tv_sec) + double(t.tv_usec) * 1e-6; };
    return seconds(u.ru_utime) + seconds(u.ru_stime);
}

class runner {
public:
    explicit runner(const options & o) : o_(o) {
        llama_model_params mp = llama_model_default_params();
        mp.n_gpu_layers       = o.n_gpu;
        mp.use_extra_bufts    = false;  // weights stay in the mapped file, in the same memory for all processes
        model_                = llama_model_load_from_file(o.model.c_str(), mp);
        if (model_ == nullptr) {
            throw std::runtime_error("cannot load " + o.model);
        }
        llama_context_params cp = llama_context_default_params();
        cp.n_ctx                = static_cast<uint32_t>(o.n_prompt + o.n_generate + 32);
        cp.n_batch = cp.n_ubatch = static_cast<uint32_t>(o.n_prompt);
        cp.n_threads = cp.n_threads_batch = o.n_threads;
        context_                          = llama_init_from_model(model_, cp);
        if (context_ == nullptr) {
            throw std::runtime_error("cannot create a context for " + o.model);
        }
        n_vocab_ = llama_vocab_n_tokens(llama_model_get_vocab(model_));
    }
    ~runner() {
        llama_free(context_);
        llama_model_free(model_);
    }
    runner(const runner &)             = delete;
    runner & operator=(const runner &) = delete;

    // llama.cpp's programs do the same before their first prompt, and the recorder leaves it out.
    void warm_up() {
        decode(0, 1, false);
        llama_memory_clear(llama_get_memory(context_), true);
        llama_synchronize(context_);
        llama_perf_context_reset(context_);
    }

    void prompt() {
        llama_memory_clear(llama_get_memory(context_), true);
        timed([&] { decode(0, o_.n_prompt, o_.all_logits); });
        n_decoded_ = 0;
    }

    void decode_next(int n) {
        if (n < 1 || n > o_.n_generate - n_decoded_) {
            throw std::runtime_error("asked for more tokens than --generate");
        }
        timed([&] {
            for (int i = 0; i < n; ++i) {
                decode(o_.n_prompt + n_decoded_++, 1, true);
            }
        });
    }

private:
    template <class F>
    void timed(F && run) {
        llama_synchronize(context_);
        const double wall = wall_now(), cpu = cpu_now();
        run();
        llama_synchronize(context_);
        std::printf("{\"wall_s\": %.6f, \"cpu_s\": %.6f}\n", wall_now() - wall, cpu_now() - cpu);
    }

    // Tokens at positions [first, first + n); logits of the last one, or of all.
    void decode(int first, int n, bool all_logits) {
        llama_batch batch = llama_batch_init(n, 0, 1);
        batch.n_tokens    = n;
        for (int i = 0; i < n; ++i) {
            batch.token[i]     = token_at(first + i);
            batch.pos[i]       = first + i;
            batch.n_seq_id[i]  = 1;
            batch.seq_id[i][0] = 0;
            batch.logits[i]    = all_logits || i + 1 == n;
        }
        const int failed = llama_decode(context_, batch);
        llama_batch_free(batch);
        if (failed != 0) {
            throw std::runtime_error("llama_decode failed");
        }
    }

    // A fixed sequence that visits the vocabulary in no order.
    llama_token token_at(int pos) const {
        return static_cast<llama_token>((uint64_t(pos) * 2654435761u >> 7) % uint64_t(n_vocab_));
    }

    options         o_;
    llama_model *   model_   = nullptr;
    llama_context * context_ = nullptr;
    int             n_vocab_ = 0, n_decoded_ = 0;
};

}  // namespace

int main(int argc, char ** argv) {
    options  o;
    CLI::App app{"Decodes fixed tokens as lines on stdin ask it to (prompt; decode N), and prints the time of each."};
    app.add_option("-m,--model", o.model, "GGUF file")->required();
    app.add_option("--prompt", o.n_prompt, "tokens of the prompt, one ubatch")->capture_default_str();
    app.add_option("--generate", o.n_generate, "tokens that can be decoded behind a prompt")->capture_default_str();
    app.add_option("-t,--threads", o.n_threads, "threads")->capture_default_str();
    app.add_option("--ngl", o.n_gpu, "layers on the GPU, where there is one")->capture_default_str();
    app.add_flag("--all-logits", o.all_logits, "ask for the logits of every prompt row");
    CLI11_PARSE(app, argc, argv);

    llama_log_set(
        [](ggml_log_level level, const char * text, void *) {
            if (level == GGML_LOG_LEVEL_ERROR) {
                std::fputs(text, stderr);
            }
        },
        nullptr);
    llama_backend_init();
    try {
        runner run(o);
        run.warm_up();
        std::puts("ready");
        std::fflush(stdout);
        for (std::string line; std::getline(std::cin, line);) {
            if (line == "prompt") {
                run.prompt();
            } else {
                run.decode_next(std::stoi(line.substr(line.find(' ') + 1)));
            }
            std::fflush(stdout);
        }
    } catch (const std::exception & e) {
        std::fprintf(stderr, "decode_driver: %s\n", e.what());
        return 1;
    }
    return 0;
}
