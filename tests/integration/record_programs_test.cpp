// `moescope record` on llama.cpp's own programs, unmodified. The model is planted, so that every recorded row can be held
// against the closed form by its token alone, whatever batches the program makes.

#include <cmath>
#include <memory>
#include <set>
#include <thread>

#include <gtest/gtest.h>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include "make-model/planted_model.hpp"
#include "support/model_runner.hpp"
#include "support/process.hpp"
#include "trace/reader.hpp"

namespace {

using namespace moescope;
using namespace moescope::test;
using make_model::planted_options;
using make_model::planted_truth;

class record_programs : public testing::Test {
protected:
    record_programs() : truth_(options()), model_(folder_ / "planted.gguf"), trace_(folder_ / "t.moetrace") {
        make_model::write_planted_model(model_, truth_);
    }

    static planted_options options(uint64_t seed = 1) {
        planted_options o;
        o.n_expert      = 32;
        o.n_expert_used = 4;
        o.seed          = seed;
        return o;
    }

    std::vector<std::string> recorded(const std::string & program, std::vector<std::string> arguments) const {
        std::vector<std::string> command = {
            moescope_bin(),        "record", "-o", trace_, "--force", "--capture", "ids,weights,norms", "--",
            llama_program(program)};
        command.insert(command.end(), arguments.begin(), arguments.end());
        return command;
    }

    int run_recorded(const std::string & program, std::vector<std::string> arguments) {
        const int code =
            run(recorded(program, std::move(arguments)), folder_ / "out", folder_ / "err", {"OMP_WAIT_POLICY=passive"});
        EXPECT_EQ(code, 0) << read_file(folder_ / "err");
        return code;
    }

    // All rows of a trace, each held against the closed form.
    static std::vector<row> checked_rows(const std::string & path, const planted_truth & truth) {
        trace::trace_reader reader(path);
        EXPECT_TRUE(reader.info().ended) << path;
        EXPECT_EQ(reader.info().lost_bytes, 0u);
        std::vector<row> all;
        for (routed_ubatch u; reader.next(u);) {
            for (row & r : rows_of(u)) {
                EXPECT_GE(r.token, 0);
                const auto il   = static_cast<uint32_t>(r.layer);
                const auto want = truth.ids(il, r.token);
                EXPECT_EQ(std::vector<int>(r.ids.begin(), r.ids.end()), want) << "layer " << il << " token " << r.token;
                expect_close(r.values.at(column::weights), truth.weights(il, r.token));
                expect_close(r.values.at(column::norms), truth.norms(il, r.token));
                all.push_back(std::move(r));
            }
        }
        EXPECT_FALSE(all.empty());
        return all;
    }

    static void expect_close(const std::vector<float> & got, const std::vector<double> & want) {
        ASSERT_EQ(got.size(), want.size());
        for (size_t i = 0; i < want.size(); ++i) {
            EXPECT_NEAR(got[i], want[i], 1e-5 * std::abs(want[i]));
        }
    }

    // What the first layer saw: (position, token) of a sequence in the order of their computation.
    static std::vector<std::pair<int32_t, int32_t>> tokens_of(const std::vector<row> & rows, int32_t seq) {
        std::vector<std::pair<int32_t, int32_t>> list;
        for (const row & r : rows) {
            if (r.layer == 0 && r.seq == seq) {
                list.emplace_back(r.pos, r.token);
            }
        }
        return list;
    }

    scratch_folder folder_;
    planted_truth  truth_;
    std::string    model_, trace_;
};

TEST_F(record_programs, completion) {
    run_recorded("llama-completion", {"-m", model_, "-p", "What is routed where?", "-n", "12", "--temp", "0", "-t", "1",
                                      "-no-cnv", "--no-display-prompt"});
    const auto rows = checked_rows(trace_, truth_);
    const auto seen = tokens_of(rows, 0);
    // Without the warm-up (trap 7), positions count up from 0, and each generated token follows from the one before.
    ASSERT_GE(seen.size(), 12u);
    size_t decoded = 0;
    for (size_t i = 0; i < seen.size(); ++i) {
        EXPECT_EQ(seen[i].first, static_cast<int32_t>(i));
    }
    for (const row & r : rows) {
        decoded += r.layer == 0 && r.decode;
    }
    EXPECT_EQ(decoded, 11u);  // the last of 12 tokens is sampled, not computed
    for (size_t i = seen.size() - decoded; i < seen.size(); ++i) {
        EXPECT_EQ(seen[i].second, truth_.successor(seen[i - 1].second)) << "position " << i;
    }
}

// That a host's stdout stays the same is held in record_host_test: llama-completion itself loses the end of its output now
// and then on a busy machine, with and without a recorder.

TEST_F(record_programs, perplexity_over_several_sequences) {
    std::ofstream text(folder_ / "text");
    for (int i = 0; i < 3000; ++i) {
        text << static_cast<char>('a' + (i * i) % 26);
    }
    text.close();
    run_recorded("llama-perplexity", {"-m", model_, "-f", folder_ / "text", "-c", "128", "-b", "512", "-ub", "64",
                                      "--chunks", "8", "-t", "1"});
    const auto        rows = checked_rows(trace_, truth_);
    std::set<int32_t> sequences;
    for (const row & r : rows) {
        sequences.insert(r.seq);
    }
    EXPECT_EQ(sequences, (std::set<int32_t>{0, 1, 2, 3}));
}

TEST_F(record_programs, imatrix_which_has_an_eval_callback_of_its_own) {
    std::ofstream text(folder_ / "text");
    for (int i = 0; i < 1200; ++i) {
        text << static_cast<char>('A' + (i * 7) % 50);
    }
    text.close();
    const std::vector<std::string> arguments = {
        "-m", model_, "-f", folder_ / "text", "-c", "128", "--chunks", "4", "-t", "1", "-o", folder_ / "imatrix.gguf"};
    run_recorded("llama-imatrix", arguments);
    checked_rows(trace_, truth_);
    const std::string        with = read_file(folder_ / "imatrix.gguf");
    std::vector<std::string> bare = {llama_program("llama-imatrix")};
    bare.insert(bare.end(), arguments.begin(), arguments.end());
    ASSERT_EQ(run(bare, folder_ / "bare", folder_ / "bare.err"), 0);
    EXPECT_EQ(with == read_file(folder_ / "imatrix.gguf"), true) << "the recorder changed the host's result";
}

TEST_F(record_programs, speculative_run_has_a_stream_for_each_model) {
    const planted_truth draft(options(2));
    make_model::write_planted_model(folder_ / "draft.gguf", draft);
    run_recorded("llama-speculative-simple",
                 {"-m", model_, "-md", folder_ / "draft.gguf", "-p", "Two models in one program", "-n", "16",
                  "--spec-type", "draft-simple", "--temp", "0", "-t", "1", "-td", "1", "-c", "256"});
    const std::string second = folder_ / "t.2.moetrace";
    ASSERT_TRUE(std::filesystem::exists(second)) << read_file(folder_ / "err");
    trace::trace_reader first(trace_);
    const bool          first_is_target = first.model().file == model_;
    EXPECT_TRUE(first_is_target || first.model().file == folder_ / "draft.gguf") << first.model().file;
    checked_rows(first_is_target ? trace_ : second, truth_);
    checked_rows(first_is_target ? second : trace_, draft);
}

TEST_F(record_programs, layers_on_an_rpc_server) {
    const std::string port = std::to_string(20000 + ::getpid() % 20000);
    process server({llama_program("ggml-rpc-server"), "-H", "127.0.0.1", "-p", port, "-t", "1"}, folder_ / "rpc.out",
                   folder_ / "rpc.err");
    for (int i = 0; i < 100 && read_file(folder_ / "rpc.out").find("endpoint") == std::string::npos; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    run_recorded("llama-completion", {"-m", model_, "--rpc", "127.0.0.1:" + port, "-ngl", "2", "-p",
                                      "Some layers are elsewhere", "-n", "6", "--temp", "0", "-t", "1", "-no-cnv"});
    const auto seen = tokens_of(checked_rows(trace_, truth_), 0);
    EXPECT_GE(seen.size(), 6u);
}

// ---- llama-server: four requests at once on two slots, one of them cancelled ----------------------------------------

struct request {
    std::string          prompt;
    int                  n_predict;
    bool                 cancelled;
    std::vector<int32_t> tokens;  // of the prompt, as the server cuts them
};

class Server {
public:
    Server(std::vector<std::string> command, int port, const std::string & log)
        : process_(std::move(command), log + ".out", log + ".err", {"OMP_WAIT_POLICY=passive"}),
          port_(port),
          log_(log) {
        for (int i = 0; i < 600; ++i) {
            httplib::Client client("127.0.0.1", port_);
            const auto      answer = client.Get("/health");
            if (answer && answer->status == 200) {
                return;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
        }
        throw std::runtime_error("llama-server does not answer: " + read_file(log + ".err"));
    }

    std::vector<int32_t> tokenize(const std::string & text) const {
        httplib::Client client("127.0.0.1", port_);
        const auto answer = client.Post("/tokenize", nlohmann::json{{"content", text}, {"add_special", true}}.dump(),
                                        "application/json");
        return nlohmann::json::parse(answer->body).at("tokens").get<std::vector<int32_t>>();
    }

    void complete(const request & r) const {
        httplib::Client client("127.0.0.1", port_);
        client.set_read_timeout(120);
        httplib::Request http;
        http.method = "POST";
        http.path   = "/completion";
        http.set_header("Content-Type", "application/json");
        http.body = nlohmann::json{{"prompt", r.prompt}, {"n_predict", r.n_predict}, {"temperature", 0},
                                   {"stream", true},     {"cache_prompt", false},    {"ignore_eos", true}}
                        .dump();
        int events            = 0;
        http.content_receiver = [&](const char *, size_t, uint64_t, uint64_t) {
            return !(r.cancelled && ++events >= 4);
        };
        client.send(http);
    }

    int stop() {
        process_.signal(SIGTERM);
        return process_.wait();
    }

private:
    process     process_;
    int         port_;
    std::string log_;
};

// The runs of a sequence: a new one begins wherever the position goes back to 0.
std::vector<std::vector<int32_t>> runs_of(const std::vector<std::pair<int32_t, int32_t>> & tokens) {
    std::vector<std::vector<int32_t>> runs;
    for (const auto & [pos, token] : tokens) {
        if (pos == 0) {
            runs.emplace_back();
        }
        if (!runs.empty() && pos == static_cast<int32_t>(runs.back().size())) {
            runs.back().push_back(token);
        }
    }
    return runs;
}

TEST_F(record_programs, server_with_concurrent_requests) {
    const int port = 20000 + (::getpid() + 7) % 20000;
    Server server(recorded("llama-server", {"-m", model_, "--port", std::to_string(port), "--host", "127.0.0.1", "-np",
                                            "2", "-c", "1024", "-t", "1", "-ub", "32", "--no-webui"}),
                  port, folder_ / "server");
    std::vector<request> requests = {
        {"The first question is longer than one ubatch can hold at a time, on purpose.", 24, false, {}},
        {"Second", 40, false, {}},
        {"And the third one is given up before it ends", 400, true, {}},
        {"4: Second", 16, false, {}},
    };
    std::vector<std::thread> clients;
    for (request & r : requests) {
        r.tokens = server.tokenize(r.prompt);
    }
    for (const request & r : requests) {
        clients.emplace_back([&] { server.complete(r); });
    }
    for (std::thread & t : clients) {
        t.join();
    }
    server.stop();

    const auto rows    = checked_rows(trace_, truth_);
    size_t     unknown = 0;
    for (const row & r : rows) {
        unknown += r.seq < 0;
    }
    std::printf("rows compared: %zu, with sequence -1: %zu\n", rows.size(), unknown);
    EXPECT_LE(unknown * 1000, rows.size());

    std::vector<std::vector<int32_t>> runs;
    for (const int32_t slot : {0, 1}) {
        for (auto & run : runs_of(tokens_of(rows, slot))) {
            runs.push_back(std::move(run));
        }
    }
    EXPECT_EQ(runs.size(), requests.size()) << "more or fewer than the requests: is the warm-up in the trace?";
    for (const request & r : requests) {
        std::vector<int32_t> want = r.tokens;
        for (int i = 1; i < r.n_predict; ++i) {
            want.push_back(truth_.successor(want.back()));
        }
        const auto is_it = [&](const std::vector<int32_t> & run) {
            const bool whole =
                r.cancelled ? run.size() > r.tokens.size() && run.size() < want.size() : run.size() == want.size();
            return whole && std::equal(run.begin(), run.end(), want.begin());
        };
        EXPECT_EQ(std::count_if(runs.begin(), runs.end(), is_it), 1) << r.prompt;
    }
}

}  // namespace
