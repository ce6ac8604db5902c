// Every id, weight and norm of a capture against the closed form of planted models, by both ways in.

#include <cmath>
#include <filesystem>

#include <gtest/gtest.h>
#include <unistd.h>

#include "make-model/planted_family.hpp"
#include "make-model/planted_model.hpp"
#include "support/model_runner.hpp"
#include "support/scratch_folder.hpp"

namespace {

using namespace moescope;
using namespace moescope::test;
using make_model::planted_options;
using make_model::planted_truth;

struct planted_case {
    std::string        arch;
    capture::mechanism by;
};

std::string case_name(const testing::TestParamInfo<planted_case> & info) {
    std::string name = info.param.arch + (info.param.by == capture::mechanism::probes ? "_probes" : "_callback");
    for (char & c : name) {
        c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
    }
    return name;
}

class planted_capture : public testing::TestWithParam<planted_case> {
protected:
    void SetUp() override {
        planted_options o;
        o.arch                 = GetParam().arch;
        o.n_expert             = 32;
        o.n_expert_used        = 4;
        truth_                 = std::make_unique<planted_truth>(o);
        const std::string path = scratch_ / "planted.gguf";
        make_model::write_planted_model(path, *truth_);
        runner_ = std::make_unique<model_runner>(path);
    }

    template <class Work>
    recording captured(llama_context_params params, Work work) {
        capture::capture_options options;
        options.what = column_set::all();
        options.by   = GetParam().by;
        auto streams = capture_streams(options, [&](capture::session & s) {
            s.prepare(params);
            runner_->open(params);
            work();
            runner_->close();
        });
        EXPECT_EQ(streams.size(), 1u);
        return std::move(streams.at(0));
    }

    // Within 1e-5 of each value; scores may cancel, so they are held to 1e-5 of the row's largest.
    void expect_close(const row & r, column c, const std::vector<double> & want) {
        const std::string          what = to_string(c);
        const std::vector<float> & got  = r.values.at(c);
        ASSERT_EQ(got.size(), want.size()) << what;
        double largest = 0;
        for (const double w : want) {
            largest = std::max(largest, std::abs(w));
        }
        const bool strict = c == column::weights || c == column::weights_raw || c == column::norms;
        for (size_t i = 0; i < want.size(); ++i) {
            ASSERT_NEAR(got[i], want[i], 1e-5 * (strict ? std::abs(want[i]) : largest))
                << what << "[" << i << "] of layer " << r.layer << ", token " << r.token;
        }
    }

    // All rows equal the closed form; every token of every layer is there as often as it was computed.
    void expect_truth(const recording & rec, const std::vector<batch_token> & computed) {
        std::map<std::tuple<int32_t, int32_t, int32_t>, int> seen;
        for (const row & r : rec.rows()) {
            ASSERT_GE(r.token, 0);
            const auto il   = static_cast<uint32_t>(r.layer);
            const auto want = truth_->ids(il, r.token);
            EXPECT_EQ(std::vector<int>(r.ids.begin(), r.ids.end()), want)
                << "layer " << il << ", token " << r.token << " at " << r.pos;
            expect_close(r, column::weights, truth_->weights(il, r.token));
            expect_close(r, column::weights_raw, truth_->weights_raw(il, r.token));
            expect_close(r, column::norms, truth_->norms(il, r.token));
            expect_close(r, column::logits, truth_->logits(il, r.token));
            expect_close(r, column::probs, truth_->probs(il, r.token));
            expect_close(r, column::selection, truth_->selection(il, r.token));
            expect_close(r, column::gate_input, truth_->gate_input(il, r.token));
            seen[{r.layer, r.seq, r.pos}] += 1;
        }
        // gpt-oss computes whole last layers.
        const bool whole    = GetParam().arch == "gpt-oss";
        const auto n_layer  = static_cast<int32_t>(truth_->options().n_layer);
        size_t     expected = 0;
        for (const batch_token & t : computed) {
            for (int32_t il = 0; il < n_layer; ++il) {
                const bool there = whole || il < n_layer - 1 || t.output;
                EXPECT_EQ((seen[{il, t.seq, t.pos}]), there ? 1 : 0)
                    << "layer " << il << " seq " << t.seq << " pos " << t.pos;
                expected += there;
            }
        }
        EXPECT_EQ(rec.rows().size(), expected);
    }

    static std::vector<batch_token> prompt(int n, int32_t seq = 0, int first_token = 20, bool all_outputs = true) {
        std::vector<batch_token> tokens;
        for (int i = 0; i < n; ++i) {
            tokens.push_back({first_token + (7 * i) % 200, i, seq, all_outputs || i == n - 1});
        }
        return tokens;
    }

    std::unique_ptr<planted_truth> truth_;
    scratch_folder                 scratch_;
    std::unique_ptr<model_runner>  runner_;
};

TEST_P(planted_capture, prompt_and_decode) {
    const auto      tokens = prompt(40);
    auto            all    = tokens;
    const recording rec    = captured(model_runner::default_params(), [&] {
        runner_->decode(tokens);
        for (int i = 0; i < 5; ++i) {
            all.push_back({30 + i, 40 + i, 0, true});
            runner_->decode({all.back()});
        }
    });
    expect_truth(rec, all);
    for (const row & r : rec.rows()) {
        EXPECT_EQ(r.decode, r.pos >= 40);
        EXPECT_EQ(r.seq, 0);
    }
    EXPECT_EQ(rec.pieces.count(30), 1u);
    EXPECT_EQ(rec.model.n_expert, 32u);
    EXPECT_EQ(rec.model.architecture, GetParam().arch);
}

TEST_P(planted_capture, ubatch_smaller_than_the_prompt) {
    auto params            = model_runner::default_params();
    params.n_ubatch        = 16;  // the graph of the first ubatch is reused
    const auto      tokens = prompt(70);
    const recording rec    = captured(params, [&] { runner_->decode(tokens); });
    expect_truth(rec, tokens);
    EXPECT_EQ(rec.tokens_per_ubatch, (std::vector<uint32_t>{16, 16, 16, 16, 6}));
}

TEST_P(planted_capture, last_layer_computes_only_what_is_asked_for) {
    const auto      tokens = prompt(33, 0, 20, false);
    const recording rec    = captured(model_runner::default_params(), [&] { runner_->decode(tokens); });
    expect_truth(rec, tokens);
}

TEST_P(planted_capture, several_sequences_in_one_batch) {
    for (const bool unified : {true, false}) {
        auto params       = model_runner::default_params();
        params.kv_unified = unified;
        params.n_seq_max  = 4;
        std::vector<batch_token> tokens;
        for (int i = 0; i < 12; ++i) {  // two equal prompts and a different one, interleaved
            tokens.push_back({40 + i, i, 0});
            tokens.push_back({40 + i, i, 1});
            tokens.push_back({90 + 3 * i, i, 2});
        }
        const std::vector<batch_token> step = {{50, 12, 2}, {51, 12, 0}, {51, 12, 1}};
        const recording                rec  = captured(params, [&] {
            runner_->decode(tokens);
            runner_->decode(step);
        });
        auto                           all  = tokens;
        all.insert(all.end(), step.begin(), step.end());
        expect_truth(rec, all);
        for (const row & r : rec.rows()) {
            EXPECT_EQ(r.decode, r.pos == 12);
        }
    }
}

std::vector<planted_case> all_cases() {
    std::vector<planted_case> cases;
    for (const auto & family : make_model::planted_families()) {
        cases.push_back({family.arch, capture::mechanism::probes});
        cases.push_back({family.arch, capture::mechanism::eval_callback});
    }
    return cases;
}

INSTANTIATE_TEST_SUITE_P(AllFamilies, planted_capture, testing::ValuesIn(all_cases()), case_name);

}  // namespace
