// Masks against the closed form of planted models, and what they leave alone: other contexts, and graphs without a mask.

#include <gtest/gtest.h>

#include <numeric>

#include "core/error.hpp"
#include "make-model/planted_family.hpp"
#include "make-model/planted_model.hpp"
#include "support/masked_run.hpp"
#include "support/process.hpp"

using namespace moescope;
using namespace moescope::test;

namespace {

using make_model::planted_options;
using make_model::planted_truth;

constexpr uint32_t n_expert        = 32;
constexpr int      n_prompt_tokens = 40;

// Experts that stay: a third goes, from the middle of every token's ranks.
std::vector<uint32_t> kept_experts() {
    std::vector<uint32_t> kept;
    for (uint32_t e = 0; e < n_expert; ++e) {
        if (e % 3 != 1) {
            kept.push_back(e);
        }
    }
    return kept;
}

expert_mask mask_of_the_others() {
    expert_mask mask;
    for (int32_t e = 1; e < static_cast<int32_t>(n_expert); e += 3) {
        mask.omit(expert_mask::every_layer, e);
    }
    return mask;
}

planted_options options_of(const std::string & arch) {
    planted_options o;
    o.arch          = arch;
    o.n_expert      = n_expert;
    o.n_expert_used = 4;
    return o;
}

std::vector<batch_token> prompt(int n, int32_t seq = 0) {
    std::vector<batch_token> tokens;
    for (int i = 0; i < n; ++i) {
        tokens.push_back({20 + (7 * i) % 200, i, seq, true});
    }
    return tokens;
}

// Rows of a masked run are those of the form without the omitted experts; of an unmasked one, those of the whole form.
void expect_form(const recording & rec, const planted_truth & form, const std::vector<uint32_t> & numbers) {
    ASSERT_FALSE(rec.rows().empty());
    for (const row & r : rec.rows()) {
        const auto       il = static_cast<uint32_t>(r.layer);
        std::vector<int> want;
        for (const int id : form.ids(il, r.token)) {
            want.push_back(static_cast<int>(numbers[static_cast<size_t>(id)]));
        }
        ASSERT_EQ(std::vector<int>(r.ids.begin(), r.ids.end()), want) << "layer " << il << ", token " << r.token;
        const auto weights = form.weights(il, r.token);
        for (size_t i = 0; i < weights.size(); ++i) {
            ASSERT_NEAR(r.values.at(column::weights)[i], weights[i], 1e-5 * std::abs(weights[i]));
        }
        if (const auto norms = r.values.find(column::norms); norms != r.values.end()) {
            const auto form_norms = form.norms(il, r.token);
            for (size_t i = 0; i < form_norms.size(); ++i) {
                ASSERT_NEAR(norms->second[i], form_norms[i], 1e-5 * form_norms[i]);
            }
        }
        if (const auto probs = r.values.find(column::probs); probs != r.values.end() && numbers.size() < n_expert) {
            const auto of_form = form.probs(il, r.token);
            for (size_t i = 0; i < of_form.size(); ++i) {
                ASSERT_NEAR(probs->second[numbers[i]], of_form[i], 1e-5 * std::max(1.0, std::abs(of_form[i])));
            }
        }
    }
}

std::vector<uint32_t> all_experts() {
    std::vector<uint32_t> all(n_expert);
    std::iota(all.begin(), all.end(), 0U);
    return all;
}

class PlantedMask : public testing::TestWithParam<std::string> {
protected:
    PlantedMask() : truth_(options_of(GetParam())), without_(truth_.keep(kept_experts())) {
        make_model::write_planted_model(folder_ / "m.gguf", truth_);
    }
    // Computes what `work` asks for under the mask of a session.
    template <class Work>
    recording masked(capture::mechanism by, uint32_t n_ubatch, Work work) {
        capture::capture_options options;
        options.what = column_set::all();
        options.by   = by;
        options.mask = mask_of_the_others();
        auto streams = capture_streams(options, [&](capture::session & s) {
            model_runner runner(folder_ / "m.gguf");
            auto         params = model_runner::default_params();
            params.n_ubatch     = n_ubatch;
            s.prepare(params);
            runner.open(params);
            work(runner);
        });
        EXPECT_EQ(streams.size(), 1U);
        return std::move(streams.at(0));
    }

    scratch_folder folder_;
    planted_truth  truth_, without_;
};

TEST_P(PlantedMask, GivesTheFormWithoutTheOmitted) {
    for (const auto by : {capture::mechanism::probes, capture::mechanism::eval_callback}) {
        for (const uint32_t n_ubatch : {1U, 16U, 256U}) {
            const recording rec = masked(by, n_ubatch, [](model_runner & runner) {
                runner.decode(prompt(n_prompt_tokens));
                for (int i = 0; i < 5; ++i) {
                    runner.decode({{30 + i, n_prompt_tokens + i, 0, true}});
                }
            });
            expect_form(rec, without_, kept_experts());
            EXPECT_EQ(rows_with_omitted(rec, mask_of_the_others()), 0U);
        }
    }
}

TEST_P(PlantedMask, HoldsForSequencesSideBySide) {
    const recording rec = masked(capture::mechanism::probes, 32, [](model_runner & runner) {
        auto tokens = prompt(20, 0);
        for (const batch_token & t : prompt(20, 3)) {
            tokens.push_back(t);
        }
        runner.decode(tokens);
        for (int i = 0; i < 8; ++i) {  // the graph of two rows is reused
            runner.decode({{40 + i, 20 + i, 0, true}, {90 + i, 20 + i, 3, true}});
        }
    });
    expect_form(rec, without_, kept_experts());
}

// ---- one context masked beside another --------------------------------------------------------------------------------

std::string first_failure_of(const std::function<void()> & work) {
    try {
        work();
    } catch (const error & e) {
        return e.what();
    }
    return {};
}

struct two_contexts {
    std::vector<std::unique_ptr<recording>> kept;
    capture::session                        session;
    model_runner                            plain, masked;

    explicit two_contexts(const std::string & path, capture::capture_options options = {})
        : session(std::move(options),
                  [this](uint32_t) {
                      kept.push_back(std::make_unique<recording>());
                      return std::make_unique<recording_sink>(*kept.back());
                  }),
          plain(path),
          masked(path) {
        plain.open();
        masked.open();
    }
};

TEST_P(PlantedMask, BelongsToOneContext) {
    two_contexts two(folder_ / "m.gguf");
    two.session.set_mask(two.masked.context(), mask_of_the_others());
    for (int i = 0; i < 4; ++i) {
        two.plain.decode({{50 + i, i, 0, true}});
        two.masked.decode({{50 + i, i, 0, true}});
    }
    two.session.read_pending();
    ASSERT_EQ(two.kept.size(), 2U);
    expect_form(*two.kept[0], truth_, all_experts());
    expect_form(*two.kept[1], without_, kept_experts());
    EXPECT_EQ(two.session.failure(), "");
    two.plain.close();
    two.masked.close();
}

TEST_P(PlantedMask, ChangesBetweenBatches) {
    two_contexts two(folder_ / "m.gguf");
    int          at = 0;
    const auto step = [&](const expert_mask & mask, const planted_truth & form, const std::vector<uint32_t> & numbers) {
        two.session.set_mask(two.masked.context(), mask);
        for (int i = 0; i < 3; ++i, ++at) {  // the graph is reused, over the change as well
            two.masked.decode({{50 + at, at, 0, true}});
        }
        two.session.read_pending();
        ASSERT_EQ(two.kept.size(), 1U);
        expect_form(*two.kept[0], form, numbers);
        two.kept[0]->ubatches.clear();
    };
    step({}, truth_, all_experts());
    step(mask_of_the_others(), without_, kept_experts());
    step({}, truth_, all_experts());
    EXPECT_GT(llama_perf_context(two.masked.context()).n_reused, 6);
    two.plain.close();
    two.masked.close();
}

TEST_P(PlantedMask, RefusesWhatDoesNotFit) {
    two_contexts two(folder_ / "m.gguf");
    const auto   refusal = [&](const std::string & mask) {
        return first_failure_of([&] { two.session.set_mask(two.masked.context(), parse_expert_mask(mask)); });
    };
    EXPECT_EQ(refusal("omit 0:32"), "layer 0 has no expert 32; its experts are 0 to 31");
    EXPECT_EQ(refusal("omit 99:0"), "layer 99 has no experts; there are some in layers 0-2");
    EXPECT_EQ(refusal("only 1:0-2"), "layer 1 has 3 experts left, and a token uses 4");
    two.plain.decode({{50, 0, 0, true}});
    EXPECT_EQ(first_failure_of([&] { two.session.set_mask(two.plain.context(), parse_omit("0:1")); }),
              "a context is masked before its first batch, or never");
    two.plain.close();
    two.masked.close();
}

// ---- finite biases ----------------------------------------------------------------------------------------------------

// The logits move by the bias, and by nothing else: softmax over the moved ones, in double precision.
TEST_P(PlantedMask, AddsFiniteBiasesToTheLogits) {
    capture::capture_options options;
    options.what     = column_set::all();
    options.mask     = parse_router_bias("1:5=0.75,1:8=-1.5");
    auto   streams   = capture_streams(options, [&](capture::session &) {
        model_runner runner(folder_ / "m.gguf");
        runner.open();
        runner.decode(prompt(40));
    });
    size_t n_checked = 0;
    for (const row & r : streams.at(0).rows()) {
        const auto want = truth_.logits(static_cast<uint32_t>(r.layer), r.token);
        if (r.layer > 1) {
            continue;  // what comes behind reads other inputs
        }
        for (size_t e = 0; e < want.size(); ++e) {
            const double bias = r.layer == 1 && e == 5 ? 0.75 : r.layer == 1 && e == 8 ? -1.5 : 0;
            ASSERT_NEAR(r.values.at(column::logits)[e], want[e] + bias, 1e-4) << "layer " << r.layer << " expert " << e;
            n_checked += bias != 0;
        }
    }
    EXPECT_GT(n_checked, 0U);
}

std::string name_of_case(const testing::TestParamInfo<std::string> & info) {
    std::string name = info.param;
    std::replace_if(
        name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
    return name;
}

INSTANTIATE_TEST_SUITE_P(architectures, PlantedMask, testing::ValuesIn(make_model::planted_architectures()),
                         name_of_case);

// ---- without a mask nothing is rewired --------------------------------------------------------------------------------

// Every node of every graph as a program's own eval callback sees it: name, operation, and the names of what it reads.
struct graph_listing {
    std::vector<std::string> nodes;

    static bool callback(ggml_tensor * t, bool ask, void * self) {
        if (ask) {
            std::string line = std::string(ggml_op_name(t->op)) + " " + t->name + " <-";
            for (const ggml_tensor * s : t->src) {
                line += s != nullptr ? std::string(" ") + s->name : "";
            }
            static_cast<graph_listing *>(self)->nodes.push_back(line);
        }
        return false;
    }
    size_t count(const std::string & part) const {
        return static_cast<size_t>(std::count_if(
            nodes.begin(), nodes.end(), [&](const std::string & n) { return n.find(part) != std::string::npos; }));
    }
};

graph_listing listing_of(const std::string & path, const std::function<void(llama_context *)> & prepare = {}) {
    graph_listing listing;
    model_runner  runner(path);
    auto          params     = model_runner::default_params();
    params.cb_eval           = graph_listing::callback;
    params.cb_eval_user_data = &listing;
    runner.open(params);
    if (prepare) {
        prepare(runner.context());
    }
    runner.decode(prompt(20));
    runner.decode({{30, 20, 0, true}});
    return listing;
}

TEST(Mask, WithoutOneNothingIsRewired) {
    const scratch_folder folder;
    const std::string    path = folder / "m.gguf";
    make_model::write_planted_model(path, planted_truth(options_of("qwen3moe")));
    const graph_listing bare = listing_of(path);
    ASSERT_GT(bare.nodes.size(), 50U);
    {
        const capture::session nothing({});
        EXPECT_EQ(listing_of(path).nodes, bare.nodes);
    }
    capture_streams({}, [&](capture::session &) { EXPECT_EQ(listing_of(path).nodes, bare.nodes); });

    capture::capture_options only_masked;
    only_masked.mask = parse_omit("1:3");
    const capture::session session(only_masked);
    const graph_listing    changed = listing_of(path);
    EXPECT_EQ(changed.count("-1 (unmasked)"), 2 * 2U);   // in two graphs: the logits, and the sum that reads them
    EXPECT_EQ(changed.count("moescope.mask."), 2 * 2U);  // two sums: logits, and the probabilities to choose by
    EXPECT_EQ(changed.nodes.size(), bare.nodes.size() + 2 * 2U);
    EXPECT_NE(changed.nodes, bare.nodes);
    EXPECT_EQ(session.failure(), "");
}

TEST(Mask, OfAnotherContextRewiresNothing) {
    const scratch_folder folder;
    const std::string    path = folder / "m.gguf";
    make_model::write_planted_model(path, planted_truth(options_of("qwen3moe")));
    const graph_listing bare = listing_of(path);
    capture::session    session({});
    model_runner        other(path);
    other.open();
    session.set_mask(other.context(), parse_omit("1:3"));
    other.decode({{30, 0, 0, true}});
    EXPECT_EQ(listing_of(path).nodes, bare.nodes);
    other.close();
}

// ---- a mask that does not fit the graph ------------------------------------------------------------------------------

TEST(Mask, ThatDoesNotFitIsAFailureAndChangesNothing) {
    const scratch_folder folder;
    const std::string    path = folder / "m.gguf";
    make_model::write_planted_model(path, planted_truth(options_of("qwen3moe")));
    const graph_listing bare = listing_of(path);
    for (const auto & [mask, why] : {std::pair{"omit 1:99", "layer 1 has no expert 99; its experts are 0 to 31"},
                                     {"omit 7:0", "layer 7 has no experts; there are some in layers 0-2"},
                                     {"only *:4", "layer 0 has 1 expert left, and a token uses 4"}}) {
        capture::capture_options options;
        options.mask = parse_expert_mask(mask);
        const capture::session session(options);
        const graph_listing    listing = listing_of(path);
        EXPECT_EQ(listing.nodes, bare.nodes) << mask;
        EXPECT_EQ(session.failure(), std::string("the routers are not masked: ") + why);
    }
}

}  // namespace
