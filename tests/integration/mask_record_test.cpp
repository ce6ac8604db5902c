// `moescope record --omit`: llama.cpp's own programs, unmodified, answer as they do on the pruned file. And what happens to
// masks that cannot be: one line, and the right exit code.

#include <thread>

#include <gtest/gtest.h>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include "make-model/planted_model.hpp"
#include "make-model/random_model.hpp"
#include "prune/plan.hpp"
#include "prune/writer.hpp"
#include "support/model_runner.hpp"
#include "support/process.hpp"
#include "trace/reader.hpp"

namespace {

using namespace moescope;
using namespace moescope::test;

// The same number goes in every layer: a file has one expert_count.
const std::map<int, std::vector<int32_t>> omitted  = {{0, {3, 9, 12}}, {1, {0, 5, 15}}, {2, {1, 2, 14}}};
constexpr const char *                    omit     = "0:3,0:9,0:12,1:0,1:5,1:15,2:1-2,2:14";
constexpr uint32_t                        n_expert = 16;

class MaskRecord : public testing::Test {
protected:
    // Writes the model without what is omitted.
    static void prune(const std::string & from, const std::string & to) {
        const gguf::model_file model(from);
        prune::prune_request   request;
        request.criterion = prune::prune_criterion::ids;
        for (const auto & [il, ids] : omitted) {
            for (int32_t e = 0; e < static_cast<int32_t>(n_expert); ++e) {
                if (std::find(ids.begin(), ids.end(), e) == ids.end()) {
                    request.keep_ids[il].push_back(e);
                }
            }
        }
        prune::write_pruned(model, prune::plan_prune(model, request), {"test", "", 0}, to);
    }

    void write_random() {
        make_model::random_options o;
        o.shape.n_layer       = 3;
        o.shape.n_expert      = n_expert;
        o.shape.n_expert_used = 4;
        make_model::write_random_model(model_, o);
        prune(model_, pruned_);
    }

    void write_planted() {
        make_model::planted_options o;
        o.n_expert      = n_expert;
        o.n_expert_used = 4;
        make_model::write_planted_model(model_, make_model::planted_truth(o));
        prune(model_, pruned_);
    }

    std::vector<std::string> masked(const std::vector<std::string> & mask, const std::string & program,
                                    const std::vector<std::string> & arguments) const {
        std::vector<std::string> command = {moescope_bin(), "record", "-o", trace_, "--force"};
        command.insert(command.end(), mask.begin(), mask.end());
        command.insert(command.end(), {"--", llama_program(program)});
        command.insert(command.end(), arguments.begin(), arguments.end());
        return command;
    }

    // What the program says, as it is run by the command.
    int said(const std::vector<std::string> & command, std::string & text,
             const std::vector<std::string> & environment = {}) const {
        std::vector<std::string> e = {"OMP_WAIT_POLICY=passive"};
        e.insert(e.end(), environment.begin(), environment.end());
        const int code = run(command, folder_ / "out", folder_ / "err", e);
        text           = read_file(folder_ / "out");
        return code;
    }
    std::string stderr_text() const { return read_file(folder_ / "err"); }

    static std::vector<std::string> completion(const std::string & model) {
        return {"-m",  model,         "-p",      "What would it say without them?",
                "-n",  "24",          "--temp",  "0",
                "-t",  "1",           "-no-cnv", "-c",
                "256", "--ignore-eos"};
    }

    scratch_folder    folder_;
    const std::string model_ = folder_ / "m.gguf", pruned_ = folder_ / "pruned.gguf", trace_ = folder_ / "t.moetrace";
};

std::vector<std::string> plus(std::vector<std::string> command, const std::vector<std::string> & rest) {
    command.insert(command.end(), rest.begin(), rest.end());
    return command;
}

// ---- llama-server -----------------------------------------------------------------------------------------------------

// Starts the command, asks four things at once, and stops it: the answers.
std::vector<std::string> answers_of(const std::vector<std::string> & command, int port, const std::string & log) {
    process    server(command, log + ".out", log + ".err", {"OMP_WAIT_POLICY=passive"});
    const auto ready = [&] {
        const auto answer = httplib::Client("127.0.0.1", port).Get("/health");
        return answer && answer->status == 200;
    };
    for (int i = 0; i < 600 && !ready(); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    const std::vector<std::string> prompts = {
        "The first question is longer than one ubatch can hold at a time, on purpose", "Second", "And the third",
        "Second, with the beginning of another"};
    std::vector<std::string> answers(prompts.size());
    std::vector<std::thread> clients;
    for (size_t i = 0; i < prompts.size(); ++i) {
        clients.emplace_back([&, i] {
            httplib::Client client("127.0.0.1", port);
            client.set_read_timeout(120);
            const nlohmann::json body = {{"prompt", prompts[i]},
                                         {"n_predict", 24},
                                         {"temperature", 0},
                                         {"ignore_eos", true},
                                         {"return_tokens", true}};
            if (const auto answer = client.Post("/completion", body.dump(), "application/json")) {
                answers[i] = nlohmann::json::parse(answer->body).value("tokens", nlohmann::json()).dump();
            }
        });
    }
    for (std::thread & t : clients) {
        t.join();
    }
    server.signal(SIGTERM);
    server.wait();
    return answers;
}

void expect_nothing_omitted(const std::string & path, size_t at_least = 500) {
    trace::trace_reader reader(path);
    EXPECT_EQ(reader.info().mask, parse_omit(omit).to_text());
    size_t n = 0;
    for (routed_ubatch u; reader.next(u);) {
        for (const row & r : rows_of(u)) {
            for (const uint32_t id : r.ids) {
                const auto & gone = omitted.at(r.layer);
                ASSERT_EQ(std::count(gone.begin(), gone.end(), static_cast<int32_t>(id)), 0);
                n += 1;
            }
        }
    }
    EXPECT_GT(n, at_least);
}

TEST_F(MaskRecord, ServerAnswersLikeThePrunedFile) {
    const int  port      = 20000 + (::getpid() + 19) % 20000;
    const auto arguments = [&](const std::string & model) {
        return std::vector<std::string>{
            "-m", model, "--port", std::to_string(port), "--host", "127.0.0.1", "-np", "4", "-c", "1024", "-t",
            "1",  "-ub", "32",     "--no-webui"};
    };
    for (const bool planted : {true, false}) {
        planted ? write_planted() : write_random();
        const std::string server = llama_program("llama-server");
        const auto        want   = answers_of(plus({server}, arguments(pruned_)), port, folder_ / "pruned");
        const auto        got =
            answers_of(masked({"--omit", omit}, "llama-server", arguments(model_)), port, folder_ / "masked");
        EXPECT_EQ(got, want) << read_file(folder_ / "masked.err");
        EXPECT_GT(want[0].size(), 24U) << want[0];
        expect_nothing_omitted(trace_);
        if (!planted) {  // a planted model says the same whatever its experts are
            EXPECT_NE(answers_of(plus({server}, arguments(model_)), port, folder_ / "whole"), want);
        }
        EXPECT_NE(read_file(folder_ / "masked.err").find("the output is not the model's own"), std::string::npos);
    }
}

// ---- other ways to the same mask --------------------------------------------------------------------------------------

// llama-completion writes from a thread that it does not always wait for: a text may lack its end.
void expect_same_text(const std::string & a, const std::string & b) {
    const size_t n = std::min(a.size(), b.size());
    EXPECT_EQ(a.substr(0, n), b.substr(0, n));
    EXPECT_GT(n, std::string("What would it say without them?").size() + 8);
}

TEST_F(MaskRecord, CompletionSaysWhatThePrunedFileSays) {
    write_random();
    std::string       want, got, whole;
    const std::string program = llama_program("llama-completion");
    ASSERT_EQ(said(plus({program}, completion(pruned_)), want), 0) << stderr_text();
    ASSERT_EQ(said(plus({program}, completion(model_)), whole), 0) << stderr_text();
    EXPECT_NE(want.substr(0, whole.size()), whole.substr(0, want.size()));
    EXPECT_EQ(said(masked({"--omit", omit}, "llama-completion", completion(model_)), got), 0) << stderr_text();
    expect_same_text(got, want);
    expect_nothing_omitted(trace_);

    std::string only;  // what is left, named
    for (const auto & [il, ids] : omitted) {
        for (int32_t e = 0; e < static_cast<int32_t>(n_expert); ++e) {
            if (std::find(ids.begin(), ids.end(), e) == ids.end()) {
                only += (only.empty() ? "" : ",") + std::to_string(il) + ":" + std::to_string(e);
            }
        }
    }
    EXPECT_EQ(said(masked({"--only", only}, "llama-completion", completion(model_)), got), 0) << stderr_text();
    expect_same_text(got, want);

    nlohmann::json biases;
    for (const auto & [il, ids] : omitted) {
        for (const int32_t e : ids) {
            biases[std::to_string(il)][std::to_string(e)] = "-inf";
        }
    }
    std::ofstream(folder_ / "bias.json") << biases.dump();
    EXPECT_EQ(said(masked({"--router-bias", folder_ / "bias.json"}, "llama-completion", completion(model_)), got), 0)
        << stderr_text();
    expect_same_text(got, want);
}

TEST_F(MaskRecord, TheEnvironmentIsEnoughAndNothingNeedBeRecorded) {
    write_random();
    std::string       want, got;
    const std::string program = llama_program("llama-completion");
    ASSERT_EQ(said(plus({program}, completion(pruned_)), want), 0) << stderr_text();
    EXPECT_EQ(said(plus({program}, completion(model_)), got,
                   {preloaded(env_or_die("RECORDER_LIB")), std::string("MOESCOPE_MASK=omit ") + omit}),
              0);
    expect_same_text(got, want);
    EXPECT_NE(stderr_text().find("moescope: masked (omit 0:3,0:9,0:12,"), std::string::npos) << stderr_text();
}

TEST_F(MaskRecord, RunAndInfoTellOfTheMask) {
    write_random();
    std::string text;
    ASSERT_EQ(
        said({moescope_bin(), "run", "-m", model_, "-p", "Once", "-n", "4", "-t", "1", "-o", trace_, "--omit", omit},
             text),
        0)
        << stderr_text();
    EXPECT_NE(stderr_text().find("masked (omit 0:3,0:9,0:12,1:0,"), std::string::npos) << stderr_text();
    ASSERT_EQ(said({moescope_bin(), "info", "--json", trace_}, text), 0) << stderr_text();
    EXPECT_EQ(nlohmann::json::parse(text).at("mask"), parse_omit(omit).to_text());
    ASSERT_EQ(said({moescope_bin(), "check", trace_}, text), 0) << text << stderr_text();
}

TEST_F(MaskRecord, EveryColumnHoldsItsInvariantsByBothWays) {
    write_random();
    std::string text;
    for (const char * way : {"probes", "callback"}) {
        ASSERT_EQ(said({moescope_bin(), "run", "-q",    "-m", model_,   "-p",   "Once upon a time",
                        "-n",           "4",   "-t",    "1",  "-o",     trace_, "--force",
                        "--capture",    "all", "--way", way,  "--omit", omit},
                       text),
                  0)
            << stderr_text();
        EXPECT_EQ(said({moescope_bin(), "check", trace_}, text), 0) << text << stderr_text();
        expect_nothing_omitted(trace_, 200);
    }
}

// Counts are those of the pruned file, under the experts' old numbers.
TEST_F(MaskRecord, AProfileMeasuresTheMaskedModel) {
    write_random();
    std::ofstream corpus(folder_ / "c.jsonl");
    for (const char * line : {"The first sample of a short corpus", "A second one", "And a third, which ends it"}) {
        corpus << nlohmann::json{{"text", line}}.dump() << "\n";
    }
    corpus.close();
    const auto profile = [&](const std::string & model, const std::string & name,
                             const std::vector<std::string> & more) {
        std::string text;
        EXPECT_EQ(said(plus({moescope_bin(), "profile", "-q", "-m", model, "--jsonl", folder_ / "c.jsonl", "-t", "1",
                             "-c", "256", "-o", folder_ / name},
                            more),
                       text),
                  0)
            << stderr_text();
        return nlohmann::json::parse(read_file(folder_ / name));
    };
    const nlohmann::json masked = profile(model_, "masked.json", {"--omit", omit}),
                         pruned = profile(pruned_, "pruned.json", {});
    for (const auto & [il, ids] : omitted) {
        const nlohmann::json &m = masked.at(std::to_string(il)), &p = pruned.at(std::to_string(il));
        int32_t               at = 0;
        for (int32_t e = 0; e < static_cast<int32_t>(n_expert); ++e) {
            const bool gone = std::find(ids.begin(), ids.end(), e) != ids.end();
            EXPECT_EQ(m["activation_counts"][size_t(e)], gone ? nlohmann::json(0) : p["activation_counts"][size_t(at)]);
            if (!gone) {
                const double want = p["reap"][size_t(at)];
                EXPECT_NEAR(m["reap"][size_t(e)].get<double>(), want, 1e-5 * want);
                at += 1;
            }
        }
    }
    profile(model_, "whole.json", {});
    std::string text;
    EXPECT_EQ(said({moescope_bin(), "merge", folder_ / "masked.moestats", folder_ / "whole.moestats", "-o",
                    folder_ / "all.moestats"},
                   text),
              1);
    EXPECT_NE(stderr_text().find("mask"), std::string::npos) << stderr_text();
    EXPECT_EQ(said({moescope_bin(), "profile", "-q", "-m", model_, "--jsonl", folder_ / "c.jsonl", "-t", "1", "--way",
                    "none", "--omit", "0:1", "-o", folder_ / "none.json"},
                   text),
              0)
        << stderr_text();
}

// ---- what cannot be ---------------------------------------------------------------------------------------------------

TEST_F(MaskRecord, RefusesWhatDoesNotFit) {
    write_random();
    std::string text;
    const auto  of_run = [&](const std::vector<std::string> & mask) {
        const int code =
            said(plus({moescope_bin(), "run", "-q", "-m", model_, "-p", "x", "-n", "0", "-o", trace_}, mask), text);
        EXPECT_FALSE(std::filesystem::exists(trace_));
        return std::to_string(code) + " " + stderr_text();
    };
    const std::string name = model_ + ": ", help = " (see moescope run --help)\n";
    EXPECT_EQ(of_run({"--omit", "0:16"}),
              "2 moescope: " + name + "layer 0 has no expert 16; its experts are 0 to 15\n");
    EXPECT_EQ(of_run({"--omit", "3:1"}),
              "2 moescope: " + name + "layer 3 has no experts; there are some in layers 0-2\n");
    EXPECT_EQ(of_run({"--omit", "*:0-15"}),
              "2 moescope: " + name + "every expert of layer 0 is omitted; a token needs 4\n");
    EXPECT_EQ(of_run({"--only", "2:0-2"}),
              "2 moescope: " + name + "layer 2 has 3 experts left, and a token uses 4" + help);
    EXPECT_EQ(of_run({"--omit", "0:3", "--only", "0:0-3"}),
              "2 moescope: " + name + "layer 0 has 3 experts left, and a token uses 4" + help);
    EXPECT_EQ(of_run({"--omit", "3"}),
              "2 moescope: --omit takes LAYER:EXPERT such as 5:15,3:28-30,*:7, not '3'" + help);
    EXPECT_EQ(of_run({"--only", ""}), "2 moescope: --only takes LAYER:EXPERT such as 5:0-7, not ''" + help);
    const std::string file = folder_ / "bias.json";
    EXPECT_EQ(of_run({"--router-bias", file}), "1 moescope: " + file + ": cannot open\n");
    for (const auto & [json, why] :
         {std::pair{"[1]", "not a JSON object of layers"},
          {"{\"5\": 3}", "layer 5 has no object of experts and biases"},
          {"{\"5\": {\"1\": null}}", "the bias of expert 1 in layer 5 is no number and not \"-inf\""},
          {"{\"5\": {\"x\": 1}}", "--router-bias takes LAYER:EXPERT=BIAS such as 5:15=-2"},
          {"{}", "no bias in it"}}) {
        std::ofstream(file) << json;
        EXPECT_EQ(of_run({"--router-bias", file}).rfind("1 moescope: " + file + ": " + why, 0), 0U)
            << json << stderr_text();
    }
}

TEST_F(MaskRecord, AProgramThatCannotBeMaskedRunsOnAndRecordFails) {
    write_random();
    std::string want, got;
    ASSERT_EQ(said(plus({llama_program("llama-completion")}, completion(model_)), want), 0) << stderr_text();
    for (const auto & [mask, why] : {std::pair{"0:16", "layer 0 has no expert 16; its experts are 0 to 15"},
                                     {"7:1", "layer 7 has no experts; there are some in layers 0-2"}}) {
        EXPECT_EQ(said(masked({"--omit", mask}, "llama-completion", completion(model_)), got), 1);
        expect_same_text(got, want);
        EXPECT_NE(stderr_text().find(std::string("moescope: not masked: ") + why), std::string::npos) << stderr_text();
        trace::trace_reader reader(trace_);
        EXPECT_EQ(reader.info().mask, "");
    }
    make_model::random_options dense;
    dense.shape.arch     = "llama";
    dense.shape.n_expert = dense.shape.n_expert_used = 0;
    make_model::write_random_model(folder_ / "dense.gguf", dense);
    EXPECT_EQ(said(masked({"--omit", "0:1"}, "llama-completion", completion(folder_ / "dense.gguf")), got), 1);
    EXPECT_NE(stderr_text().find("the model has no MoE layers"), std::string::npos) << stderr_text();
    EXPECT_EQ(
        said(plus({moescope_bin(), "record", "-o", trace_, "--force", "--omit", "0:1", "--"}, {"/bin/true"}), got), 1);
    EXPECT_EQ(said(masked({"--omit", "0"}, "llama-completion", completion(model_)), got), 2);
    EXPECT_EQ(said(masked({"--omit", "0:1", "--nop"}, "llama-completion", completion(model_)), got), 2);
}

TEST_F(MaskRecord, AMaskInTheEnvironmentThatIsNoneIsSaid) {
    write_random();
    std::string text;
    EXPECT_EQ(said(plus({llama_program("llama-completion")}, completion(model_)), text,
                   {preloaded(env_or_die("RECORDER_LIB")), "MOESCOPE_MASK=0:3"}),
              0);
    EXPECT_NE(stderr_text().find("a mask is such as 'omit 5:15,3:28-30; only 4:0-7; bias 5:15=-2', not '0:3'"),
              std::string::npos)
        << stderr_text();
}

}  // namespace
