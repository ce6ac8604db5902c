// A program that uses llama.cpp in ways that a recorder must survive. usage: host MODE MODEL. Prints what it computed.

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <llama.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

void decode(llama_context * ctx, int n) {
    std::vector<llama_token> tokens;
    for (int i = 0; i < n; ++i) {
        tokens.push_back(40 + i);
    }
    if (llama_decode(ctx, llama_batch_get_one(tokens.data(), n)) != 0) {
        std::abort();
    }
    std::printf("%d %.4f\n", n, static_cast<double>(llama_get_logits_ith(ctx, -1)[0]));
    std::fflush(stdout);
}

llama_model * load(const char * path) {
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    return llama_model_load_from_file(path, llama_model_default_params());
}

llama_context * open_context(llama_model * model) {
    llama_context_params p = llama_context_default_params();
    p.n_ctx = 256, p.n_threads = p.n_threads_batch = 1;
    return llama_init_from_model(model, p);
}

bool stopping = false;

// An eval callback that looks at what the second layer selects and, while `stopping`, has seen enough then.
bool watch(ggml_tensor * t, bool ask, void *) {
    return ask ? std::strcmp(t->name, "ffn_moe_topk-1") == 0 : !stopping;
}

void stop_a_graph(llama_model * model) {
    llama_context_params p = llama_context_default_params();
    p.n_ctx = 256, p.n_threads = p.n_threads_batch = 1;
    p.cb_eval           = watch;
    llama_context * ctx = llama_init_from_model(model, p);
    decode(ctx, 20);
    stopping = true;
    decode(ctx, 1);
    stopping = false;
    decode(ctx, 1);
    llama_free(ctx);
}

void use_once(llama_model * model) {
    llama_context * ctx = open_context(model);
    decode(ctx, 20);
    decode(ctx, 1);
    llama_free(ctx);
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string mode = argc > 2 ? argv[1] : "";
    if (mode == "exit-in-handler") {
        std::signal(SIGTERM, [](int) { std::exit(9); });
    }
    llama_model * model = load(argv[2]);
    if (mode == "twice") {  // two models' lives, two contexts each
        for (int i = 0; i < 2; ++i) {
            use_once(model);
            use_once(model);
            llama_model_free(model);
            model = load(argv[2]);
        }
        return 0;
    }
    if (mode == "stopped") {
        stop_a_graph(model);
        return 0;
    }
    llama_context * ctx = open_context(model);
    decode(ctx, 100);
    decode(ctx, 1);
    if (mode == "bad-sequence") {  // llama_decode refuses the batch; the program goes on
        llama_token   token = 40;
        int32_t       n_seq = 1;
        llama_seq_id  seq = 1000000000, *seqs[] = {&seq, nullptr};
        const int32_t status = llama_decode(ctx, {1, &token, nullptr, nullptr, &n_seq, seqs, nullptr});
        std::printf("refused with %d\n", status);
        decode(ctx, 1);
    } else if (mode == "loud") {
        std::fputs("a line of the host\n", stderr);
        decode(ctx, 1);
    } else if (mode == "threads") {
        std::vector<std::thread> threads;
        for (int t = 0; t < 3; ++t) {
            threads.emplace_back([model] {
                for (int i = 0; i < 4; ++i) {
                    use_once(model);
                }
            });
        }
        for (std::thread & t : threads) {
            t.join();
        }
    } else if (mode == "abort") {
        std::abort();
    } else if (mode == "exit-in-thread") {
        std::thread([] { std::exit(7); }).join();
    } else if (mode == "fork") {
        const pid_t child = fork();
        if (child == 0) {
            decode(ctx, 1);  // in the child: not recorded, and the parent's file is left alone
            std::exit(0);
        }
        waitpid(child, nullptr, 0);
        decode(ctx, 1);
    } else if (mode == "fork-exec") {
        const pid_t child = fork();
        if (child == 0) {
            execl("/proc/self/exe", argv[0], "plain", argv[2], static_cast<char *>(nullptr));
        }
        waitpid(child, nullptr, 0);
        decode(ctx, 1);
    } else if (mode == "idle") {  // a server with nothing to do
        for (int i = 0; i < 30; ++i) {
            decode(ctx, 1);
        }
        std::puts("idle");
        std::fflush(stdout);
        pause();
    } else if (mode == "long" || mode == "exit-in-handler") {
        for (int i = 0; i < 100000; ++i) {
            llama_memory_clear(llama_get_memory(ctx), true);
            decode(ctx, 100);
        }
    }
    return 0;  // neither context nor model freed: at exit everything must still be written
}
