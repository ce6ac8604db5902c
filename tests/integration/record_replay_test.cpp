// `moescope record` on llama.cpp's own programs with a model of random weights: every ubatch of the recorded trace is
// computed again in this process, with the same tokens at the same places, under the other way of capture (the eval
// callback), and both must have seen the same.

#include <cmath>
#include <thread>

#include <gtest/gtest.h>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include "make-model/random_model.hpp"
#include "support/model_runner.hpp"
#include "support/process.hpp"
#include "trace/reader.hpp"

namespace {

using namespace moescope;
using namespace moescope::test;

// The batch that computes a recorded ubatch again. A row of the last block is a token whose output was asked for.
std::vector<batch_token> batch_of(const routed_ubatch & u) {
    std::vector<batch_token> batch;
    for (uint32_t i = 0; i < u.n_tokens(); ++i) {
        batch.push_back({u.token[i], u.pos[i], u.seq[i], false});
    }
    const block_rows & last = u.blocks[u.blocks.size() - 1];
    for (uint32_t r = 0; r < last.n_rows; ++r) {
        batch[static_cast<size_t>(last.token_of(r))].output = true;
    }
    return batch;
}

// The ubatches of each llama_decode of the recorded program.
std::vector<std::vector<std::vector<batch_token>>> by_batch(trace::trace_reader & reader) {
    std::vector<std::vector<std::vector<batch_token>>> batches;
    uint32_t                                           number = 0;
    for (routed_ubatch u; reader.next(u); number = u.batch) {
        if (batches.empty() || u.batch != number) {
            batches.emplace_back();
        }
        batches.back().push_back(batch_of(u));
    }
    return batches;
}

// Forgets what the program had forgotten before this batch: positions that come again.
void forget(llama_context * ctx, const std::vector<std::vector<batch_token>> & ubatches) {
    std::map<int32_t, llama_pos> first;
    for (const auto & ubatch : ubatches) {
        for (const batch_token & t : ubatch) {
            const auto it = first.emplace(t.seq, t.pos).first;
            it->second    = std::min(it->second, t.pos);
        }
    }
    for (const auto & [seq, pos] : first) {
        llama_memory_seq_rm(llama_get_memory(ctx), seq, pos, -1);
    }
}

class record_replay : public testing::Test {
protected:
    record_replay() : model_(make_model(1)), trace_(folder_ / "t.moetrace") {}

    std::string make_model(uint64_t seed) const {
        make_model::random_options o;
        o.shape.n_layer        = 3;
        o.shape.n_expert       = 32;
        o.shape.n_expert_used  = 4;
        o.seed                 = seed;
        const std::string path = folder_ / ("random-" + std::to_string(seed) + ".gguf");
        make_model::write_random_model(path, o);
        return path;
    }

    std::vector<std::string> recorded(const std::string & program, const std::vector<std::string> & arguments) const {
        std::vector<std::string> command = {moescope_bin(),        "record", "-o", trace_, "--force", "--",
                                            llama_program(program)};
        command.insert(command.end(), arguments.begin(), arguments.end());
        return command;
    }

    void record(const std::string & program, const std::vector<std::string> & arguments) const {
        ASSERT_EQ(run(recorded(program, arguments), folder_ / "out", folder_ / "err", {"OMP_WAIT_POLICY=passive"}), 0)
            << read_file(folder_ / "err");
    }

    void write_text(const std::string & path, int n) const {
        std::ofstream text(path);
        for (int i = 0; i < n; ++i) {
            text << static_cast<char>('a' + (i * i + i / 7) % 26);
        }
    }

    static llama_context_params context_of(uint32_t n_seq, uint32_t n_ctx, bool unified) {
        llama_context_params p = model_runner::default_params();
        p.n_seq_max = n_seq, p.n_ctx = n_ctx, p.kv_unified = unified;
        p.n_batch = p.n_ubatch = 512;
        return p;
    }

    // Ids exactly, weights within 1e-6.
    static void expect_same(const std::vector<row> & got, const std::vector<row> & want) {
        ASSERT_EQ(got.size(), want.size());
        for (size_t i = 0; i < want.size(); ++i) {
            ASSERT_EQ(std::tie(got[i].layer, got[i].block, got[i].token, got[i].pos, got[i].seq),
                      std::tie(want[i].layer, want[i].block, want[i].token, want[i].pos, want[i].seq));
            ASSERT_EQ(got[i].ids, want[i].ids) << "layer " << want[i].layer << ", position " << want[i].pos;
            for (size_t k = 0; k < want[i].ids.size(); ++k) {
                ASSERT_NEAR(got[i].values.at(column::weights)[k], want[i].values.at(column::weights)[k], 1e-6);
            }
        }
    }

    // The number of rows compared.
    static size_t replay(const std::string & path, const std::string & model, llama_context_params params) {
        trace::trace_reader reader(path);
        EXPECT_TRUE(reader.info().ended);
        size_t                   n_rows = 0;
        capture::capture_options options;
        options.by         = capture::mechanism::eval_callback;
        const auto streams = capture_streams(options, [&](capture::session & session) {
            model_runner runner(model);
            session.prepare(params);
            runner.open(params);
            for (const auto & ubatches : by_batch(reader)) {
                forget(runner.context(), ubatches);
                for (const auto & ubatch : ubatches) {
                    runner.decode(ubatch);
                }
            }
        });
        reader.rewind();
        size_t at = 0;
        for (routed_ubatch u; reader.next(u); ++at) {
            EXPECT_LT(at, streams.at(0).ubatches.size());
            const std::vector<row> rows = rows_of(u);
            expect_same(rows, streams[0].ubatches.at(at));
            n_rows += rows.size();
        }
        EXPECT_EQ(at, streams.at(0).ubatches.size());
        EXPECT_GT(n_rows, 0u);
        std::printf("rows compared: %zu in %zu ubatches\n", n_rows, at);
        return n_rows;
    }

    static void expect_checks(const std::string & path) {
        EXPECT_EQ(run({moescope_bin(), "check", path}, path + ".check", path + ".check.err"), 0)
            << read_file(path + ".check.err");
    }

    scratch_folder folder_;
    std::string    model_, trace_;
};

TEST_F(record_replay, completion) {
    record("llama-completion", {"-m", model_, "-p", "What is routed where, and by whom? A prompt of several ubatches.",
                                "-n", "24", "--temp", "0", "--ignore-eos", "-ub", "16", "-t", "1", "-no-cnv"});
    replay(trace_, model_, context_of(1, 4096, true));
    expect_checks(trace_);
}

TEST_F(record_replay, perplexity_over_several_sequences) {
    write_text(folder_ / "text", 3000);
    record("llama-perplexity",
           {"-m", model_, "-f", folder_ / "text", "-c", "128", "-b", "512", "-ub", "64", "--chunks", "8", "-t", "1"});
    replay(trace_, model_, context_of(4, 512, false));
    expect_checks(trace_);
}

TEST_F(record_replay, imatrix_which_has_an_eval_callback_of_its_own) {
    write_text(folder_ / "text", 1200);
    record("llama-imatrix", {"-m", model_, "-f", folder_ / "text", "-c", "128", "--chunks", "4", "-t", "1", "-o",
                             folder_ / "imatrix.gguf"});
    replay(trace_, model_, context_of(4, 512, true));
    expect_checks(trace_);
}

TEST_F(record_replay, speculative_run_of_two_models) {
    const std::string draft = make_model(2);
    record("llama-speculative-simple",
           {"-m", model_, "-md", draft, "-p", "Two models in one program", "-n", "16", "--spec-type", "draft-simple",
            "--temp", "0", "-t", "1", "-td", "1", "-c", "256"});
    for (const std::string & path : {trace_, folder_ / "t.2.moetrace"}) {
        replay(path, trace::trace_reader(path).model().file, context_of(1, 256, true));
        expect_checks(path);
    }
}

TEST_F(record_replay, layers_on_an_rpc_server) {
    const std::string port = std::to_string(20000 + (::getpid() + 11) % 20000);
    process server({llama_program("ggml-rpc-server"), "-H", "127.0.0.1", "-p", port, "-t", "1"}, folder_ / "rpc.out",
                   folder_ / "rpc.err");
    for (int i = 0; i < 100 && read_file(folder_ / "rpc.out").find("endpoint") == std::string::npos; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    record("llama-completion",
           {"-m", model_, "--rpc", "127.0.0.1:" + port, "-ngl", "2", "-p", "Some layers are elsewhere", "-n", "8",
            "--temp", "0", "--ignore-eos", "-t", "1", "-no-cnv"});
    replay(trace_, model_, context_of(1, 4096, true));
    expect_checks(trace_);
}

TEST_F(record_replay, server_with_concurrent_requests) {
    const int port = 20000 + (::getpid() + 13) % 20000;
    process server(recorded("llama-server", {"-m", model_, "--port", std::to_string(port), "--host", "127.0.0.1", "-np",
                                             "2", "-c", "1024", "-t", "1", "-ub", "32", "--no-webui"}),
                   folder_ / "out", folder_ / "err", {"OMP_WAIT_POLICY=passive"});
    const auto ready = [&] {
        const auto answer = httplib::Client("127.0.0.1", port).Get("/health");
        return answer && answer->status == 200;
    };
    for (int i = 0; i < 600 && !ready(); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    const auto complete = [&](const std::string & prompt, int n_predict, int cancel_after) {
        httplib::Client client("127.0.0.1", port);
        client.set_read_timeout(120);
        httplib::Request http;
        http.method = "POST", http.path = "/completion";
        http.set_header("Content-Type", "application/json");
        http.body = nlohmann::json{
            {"prompt", prompt},
            {"n_predict", n_predict},
            {"temperature", 0},
            {"stream", true},
            {"ignore_eos",
             true}}.dump();
        int events            = 0;
        http.content_receiver = [&](const char *, size_t, uint64_t, uint64_t) { return ++events != cancel_after; };
        client.send(http);
    };
    std::vector<std::thread> clients;
    clients.emplace_back(complete, "The first question is longer than one ubatch can hold at a time, on purpose.", 24,
                         0);
    clients.emplace_back(complete, "Second", 40, 0);
    clients.emplace_back(complete, "And the third one is given up before it ends", 400, 4);
    clients.emplace_back(complete, "Second, with the beginning of another", 16, 0);
    for (std::thread & t : clients) {
        t.join();
    }
    server.signal(SIGTERM);
    server.wait();
    replay(trace_, model_, context_of(2, 1024, false));
    expect_checks(trace_);
}

}  // namespace
