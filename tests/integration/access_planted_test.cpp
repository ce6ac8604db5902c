// The access trace against the closed form of planted models, through `run` and `record` and the export as access-json:
// every slice that every token of every layer and step touches.

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "make-model/planted_family.hpp"
#include "make-model/planted_model.hpp"
#include "support/access_steps.hpp"

namespace {

using namespace moescope;
using namespace moescope::test;
using make_model::planted_options;
using make_model::planted_truth;
using nlohmann::json;

class planted_access : public access_trace, public testing::WithParamInterface<const char *> {
protected:
    void SetUp() override {
        planted_options o;
        o.arch          = GetParam();
        o.n_expert      = 32;
        o.n_expert_used = 4;
        truth_          = std::make_unique<planted_truth>(o);
        make_model::write_planted_model(model_, *truth_);
        for (const char c : prompt_) {
            tokens_.push_back(static_cast<unsigned char>(c));
        }
        for (int i = 0; i < 4; ++i) {
            tokens_.push_back(truth_->successor(tokens_.back()));
        }
    }

    // Every matrix of every layer is read once, by the known experts of those tokens.
    void expect_known_experts(const json & entries, size_t first, size_t n, const std::set<int> & layers,
                              const json_map & map) {
        std::map<int, std::set<std::string>> read;
        for (const json & e : entries) {
            if (e["operation_type"] != "MUL_MAT_ID") {
                EXPECT_EQ(e.contains("expert_ids"), e["operation_type"] == "ADD_ID");
                continue;
            }
            const int il = e["layer_id"];
            EXPECT_TRUE(read[il].insert(e["sources"][0]["name"]).second);
            EXPECT_EQ(e["sources"].size(), 1u);
            EXPECT_EQ(e["num_experts"], truth_->options().n_expert_used);
            json want = json::array();
            for (size_t t = first; t < first + n; ++t) {
                want.push_back(truth_->ids(static_cast<uint32_t>(il), tokens_[t]));
            }
            EXPECT_EQ(e["expert_ids"], want) << e["dst_name"];
        }
        std::map<int, std::set<std::string>> all;
        for (const int il : layers) {
            all[il] = map.matrices().at(il);
        }
        EXPECT_EQ(read, all);
    }

    // What n tokens touch: all that is dense, and each expert that any of them selects.
    uint64_t expected_bytes(size_t first, size_t n, const json_map & map) {
        uint64_t bytes = map.per_token() + (n - 1) * map.row("token_embd.weight");
        for (const auto & [il, matrices] : map.matrices()) {
            uint64_t one = 0;
            for (const std::string & m : matrices) {
                const std::string bias = m.substr(0, m.rfind('.')) + ".bias";
                one += map.slice(m, 0) + (map.has(bias) ? map.slice(bias, 0) : 0);
            }
            std::set<int> selected;
            for (size_t t = first; t < first + n; ++t) {
                for (const int id : truth_->ids(static_cast<uint32_t>(il), tokens_[t])) {
                    selected.insert(id);
                }
            }
            bytes += one * (selected.size() - truth_->options().n_expert_used);
        }
        return bytes;
    }

    std::unique_ptr<planted_truth> truth_;
    std::vector<int32_t>           tokens_;  // prompt and generated ones that are computed
};

TEST_P(planted_access, run_names_exactly_the_known_slices) {
    for (const char * way : {"probes", "callback"}) {
        const auto     steps = steps_of_run(model_, {"--way", way});
        const json_map map   = map_of(model_);
        ASSERT_EQ(steps.size(), 7u);  // 16 + 16 + 8 tokens, then 4 times one
        size_t first = 0;
        for (size_t i = 0; i < steps.size(); ++i) {
            const size_t n = steps[i]["n_tokens"];
            EXPECT_EQ(steps[i]["step"], i);
            EXPECT_EQ(steps[i]["phase"], i < 3 ? "prefill" : "decode");
            EXPECT_EQ(n, i < 2 ? 16u : i == 2 ? 8u : 1u);
            expect_known_experts(steps[i]["entries"], first, n, {0, 1, 2}, map);
            EXPECT_EQ(touched(steps[i], map).total(), expected_bytes(first, n, map)) << "step " << i;
            first += n;
        }
        expect_sound(model_, steps);
    }
}

// Entries of other layers are left out; those that stay name their own layer's experts.
TEST_P(planted_access, layers_that_were_not_asked_for_are_left_out) {
    for (const char * way : {"probes", "callback"}) {
        const auto     steps = steps_of_run(model_, {"--way", way, "--layers", "1"});
        const json_map map   = map_of(model_);
        size_t         first = 0;
        ASSERT_EQ(steps.size(), 7u);
        for (const json & step : steps) {
            const size_t n = step["n_tokens"];
            expect_known_experts(step["entries"], first, n, {1}, map);
            for (const json & e : step["entries"]) {
                EXPECT_TRUE(e["layer_id"] == 1 || e["layer_id"] == -1) << e;
            }
            first += n;
        }
    }
}

// An unmodified program: one llama_decode of the prompt, in three ubatches, is one step.
TEST_P(planted_access, record_joins_the_ubatches_of_a_batch) {
    command({moescope_bin(), "record",
             "-o",           trace_,
             "--capture",    "access",
             "--",           llama_program("llama-completion"),
             "-m",           model_,
             "-p",           prompt_,
             "-n",           "5",
             "--temp",       "0",
             "-t",           "1",
             "-b",           "64",
             "-ub",          std::to_string(n_ubatch),
             "-no-cnv"});
    const auto     steps = exported();
    const json_map map   = map_of(model_);
    ASSERT_EQ(steps.size(), 5u);
    // Most architectures compute only those rows of the last layer whose logits are asked for.
    const bool        whole = truth_->options().arch == "gpt-oss";
    const json &      all   = steps[0]["entries"];
    std::vector<json> ubatches;
    for (const json & e : all) {
        if (e["operation_type"] == "GET_ROWS" && e["sources"][0]["name"] == "token_embd.weight") {
            ubatches.push_back(json::array());
        }
        ASSERT_FALSE(ubatches.empty());
        if (whole || e["layer_id"] != 2) {
            ubatches.back().push_back(e);
        } else if (e["operation_type"] == "MUL_MAT_ID") {
            const bool last = ubatches.size() == 3;
            const json want = last ? json::array({truth_->ids(2, tokens_[39])}) : json::array();
            EXPECT_EQ(e["expert_ids"], want) << "ubatch " << ubatches.size();
        }
    }
    EXPECT_EQ(steps[0]["n_tokens"], 40);
    ASSERT_EQ(ubatches.size(), 3u);
    const std::set<int> layers = whole ? std::set<int>{0, 1, 2} : std::set<int>{0, 1};
    for (size_t u = 0; u < 3; ++u) {
        expect_known_experts(ubatches[u], 16 * u, u < 2 ? 16 : 8, layers, map);
    }
    for (size_t i = 1; i < 5; ++i) {
        EXPECT_EQ(steps[i]["phase"], "decode");
        expect_known_experts(steps[i]["entries"], 39 + i, 1, {0, 1, 2}, map);
        EXPECT_EQ(touched(steps[i], map).total(), map.per_token());
    }
}

std::vector<const char *> families() {
    std::vector<const char *> names;
    for (const auto & f : make_model::planted_families()) {
        names.push_back(f.arch);
    }
    return names;
}

std::string family_name(const testing::TestParamInfo<const char *> & info) {
    std::string name = info.param;
    for (char & c : name) {
        c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
    }
    return name;
}

INSTANTIATE_TEST_SUITE_P(AllFamilies, planted_access, testing::ValuesIn(families()), family_name);

}  // namespace
