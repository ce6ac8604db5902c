// The access trace from end to end: `run` and `record` with --capture access, exported as access-json, against
//   the closed form of planted models: every slice that every token of every layer and step touches
//   the memory map: every source is in it, and what a decoded step touches weighs what the map says a token reads
//   an eval callback of the test's own: the same operations on the same weights, in the order of the graph
// and `stats --access` against the sums of the exported steps.

#include <map>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "make-model/planted_family.hpp"
#include "make-model/planted_model.hpp"
#include "make-model/random_model.hpp"
#include "make-model/variants.hpp"
#include "support/model_runner.hpp"
#include "support/process.hpp"
#include "support/source_dir.hpp"

namespace {

using namespace moescope;
using namespace moescope::test;
using make_model::planted_options;
using make_model::planted_truth;
using nlohmann::json;

constexpr int n_ubatch = 16;

// The map as users read it, with what its rows say about tensors read in pieces.
class json_map {
public:
    explicit json_map(const json & map) : per_token_(map["totals"]["bytes_per_token"]) {
        for (const json & t : map["tensors"]) {
            sizes_[t["name"]] = t["size_bytes"];
            rows_[t["name"]]  = t["shape"].size() > 1 ? t["shape"][1].get<uint64_t>() : 1;
            if (t.contains("expert_id")) {
                matrices_[t["layer_id"]].insert(t["base_name"].get<std::string>());
                n_expert_ = std::max(n_expert_, t["expert_id"].get<uint64_t>() + 1);
            }
        }
    }

    uint64_t per_token() const { return per_token_; }
    bool     has(const std::string & tensor) const { return sizes_.count(tensor) || sizes_.count(tensor + "[0]"); }
    uint64_t whole(const std::string & tensor) const { return sizes_.at(tensor); }
    uint64_t row(const std::string & tensor) const { return sizes_.at(tensor) / rows_.at(tensor); }
    uint64_t slice(const std::string & tensor, int id) const {  // biases are one entry for all experts
        const auto it = sizes_.find(tensor + "[" + std::to_string(id) + "]");
        return it != sizes_.end() ? it->second : sizes_.at(tensor) / n_expert_;
    }
    // Expert matrices by layer.
    const std::map<int, std::set<std::string>> & matrices() const { return matrices_; }

private:
    uint64_t                             per_token_ = 0, n_expert_ = 0;
    std::map<std::string, uint64_t>      sizes_, rows_;
    std::map<int, std::set<std::string>> matrices_;
};

// Bytes of everything that a step touches, each tensor and slice once. Every step here is one ubatch.
struct touched {
    std::map<std::string, uint64_t> bytes;  // by tensor, or tensor[expert]

    touched(const json & step, const json_map & map) {
        for (const json & e : step["entries"]) {
            for (const json & s : e["sources"]) {
                const std::string name = s["name"];
                if (e.contains("expert_ids")) {
                    for (const json & row : e["expert_ids"]) {
                        for (const int id : row) {
                            bytes[name + "[" + std::to_string(id) + "]"] = map.slice(name, id);
                        }
                    }
                } else if (e["operation_type"] == "GET_ROWS") {
                    const uint64_t n = step["n_tokens"];
                    bytes[name]      = std::max(bytes[name], n * map.row(name));
                } else {
                    bytes[name] = map.whole(name);
                }
            }
        }
    }
    uint64_t total() const {
        uint64_t sum = 0;
        for (const auto & [name, n] : bytes) {
            sum += n;
        }
        return sum;
    }
};

// One operation that reads weights: as exported, and as the test's own callback sees it.
struct operation {
    std::string              op, dst;
    std::vector<std::string> sources;
    bool operator==(const operation & o) const { return op == o.op && dst == o.dst && sources == o.sources; }
};

void PrintTo(const operation & o, std::ostream * out) {
    *out << o.op << " " << o.dst << " <-";
    for (const std::string & s : o.sources) {
        *out << " " << s;
    }
}

std::vector<operation> operations_of(const json & step) {
    std::vector<operation> list;
    for (const json & e : step["entries"]) {
        operation o{e["operation_type"], e["dst_name"], {}};
        for (const json & s : e["sources"]) {
            o.sources.push_back(s["name"]);
        }
        list.push_back(std::move(o));
    }
    return list;
}

// Sees every node of a graph in order. Weights are known by their names in the map; ids are read by their strides.
struct witness {
    const json_map &                                           map;
    std::vector<operation>                                     reads = {};
    std::vector<std::pair<int, std::vector<std::vector<int>>>> ids   = {};  // layer, rows; in graph order

    static bool eval(ggml_tensor * t, bool ask, void * self) {
        auto & w = *static_cast<witness *>(self);
        if (ask) {
            w.look(t);
        } else if (t->op == GGML_OP_MUL_MAT_ID) {
            w.read_ids(t);
        }
        return ask ? t->op == GGML_OP_MUL_MAT_ID : true;
    }

    void look(const ggml_tensor * t) {
        const std::set<ggml_op> views = {GGML_OP_NONE, GGML_OP_VIEW, GGML_OP_RESHAPE, GGML_OP_PERMUTE,
                                         GGML_OP_TRANSPOSE};
        operation               o{ggml_op_name(t->op), t->name, {}};
        for (const ggml_tensor * s : t->src) {
            const ggml_tensor * w = s != nullptr && s->view_src != nullptr ? s->view_src : s;
            if (w != nullptr && map.has(w->name)) {
                o.sources.push_back(w->name);
            }
        }
        if (views.count(t->op) == 0 && !o.sources.empty() && (t->flags & GGML_TENSOR_FLAG_COMPUTE) != 0) {
            reads.push_back(std::move(o));
        }
    }

    void read_ids(const ggml_tensor * t) {
        const ggml_tensor *           x = t->src[2];
        std::vector<std::vector<int>> rows(static_cast<size_t>(x->ne[1]));
        for (int64_t r = 0; r < x->ne[1]; ++r) {
            for (int64_t i = 0; i < x->ne[0]; ++i) {
                int32_t id;
                std::memcpy(&id, static_cast<const char *>(x->data) + size_t(r) * x->nb[1] + size_t(i) * x->nb[0],
                            sizeof(id));
                rows[static_cast<size_t>(r)].push_back(id);
            }
        }
        ids.emplace_back(std::atoi(t->src[0]->name + 4), std::move(rows));  // blk.<il>.…
    }
};

class AccessTrace : public testing::Test {
protected:
    void command(const std::vector<std::string> & words) {
        ASSERT_EQ(run(words, folder_ / "out", folder_ / "err", {"OMP_WAIT_POLICY=passive"}), 0)
            << read_file(folder_ / "err");
    }

    json_map map_of(const std::string & model) {
        command({moescope_bin(), "map", model, "-f", "json", "--force", "-o", folder_ / "map.json"});
        return json_map(json::parse(read_file(folder_ / "map.json")));
    }

    // Runs the model on 40 tokens in three ubatches and four more, one by one; returns the exported steps.
    std::vector<json> steps_of_run(const std::string & model, const std::vector<std::string> & more = {}) {
        std::vector<std::string> words = {moescope_bin(),
                                          "run",
                                          "-q",
                                          "-m",
                                          model,
                                          "-p",
                                          prompt_,
                                          "-n",
                                          "4",
                                          "--temp",
                                          "0",
                                          "-t",
                                          "1",
                                          "--ignore-eos",
                                          "-ub",
                                          std::to_string(n_ubatch),
                                          "--capture",
                                          "access",
                                          "--force",
                                          "-o",
                                          trace_};
        words.insert(words.end(), more.begin(), more.end());
        command(words);
        return exported();
    }

    std::vector<json> exported() {
        command({moescope_bin(), "export", trace_, "-f", "access-json", "--force", "-o", folder_ / "access"});
        EXPECT_EQ(read_file(folder_ / "err"), "");
        std::vector<json> steps;
        for (;;) {
            char name[40];
            std::snprintf(name, sizeof(name), "access/traces/token-%05zu.json", steps.size());
            if (!std::filesystem::exists(folder_ / name)) {
                return steps;
            }
            steps.push_back(json::parse(read_file(folder_ / name)));
        }
    }

    // What `stats --access` says equals the sums over the steps, where each of them is one ubatch.
    void expect_stats(const std::vector<json> & steps, const json_map & map) {
        command({moescope_bin(), "stats", trace_, "--access", "--json", "--force", "-o", folder_ / "stats.json"});
        const json                                           stats = json::parse(read_file(folder_ / "stats.json"));
        std::map<std::string, std::pair<uint64_t, uint64_t>> want, got;  // reads, bytes
        uint64_t                                             bytes = 0;
        for (const json & step : steps) {
            for (const auto & [name, n] : touched(step, map).bytes) {
                want[name].first += 1;
                want[name].second += n;
                bytes += n;
            }
        }
        for (const json & row : stats["slices"]) {
            got[row["tensor"].get<std::string>() + "[" + std::to_string(row["expert"].get<int>()) + "]"] = {
                row["reads"], row["bytes"]};
        }
        for (const json & row : stats["tensors"]) {
            got[row["tensor"]] = {row["reads"], row["bytes"]};
        }
        EXPECT_EQ(got, want);
        EXPECT_EQ(stats["bytes"], bytes);
    }

    // The same tokens in the same ubatches, watched by the test itself.
    void expect_as_witnessed(const std::string & model, const std::vector<json> & steps, const json_map & map) {
        const std::vector<int32_t> tokens = computed_tokens();
        model_runner               runner(model);
        auto                       params = model_runner::default_params();
        witness                    seen{map};
        params.n_batch = params.n_ubatch = n_ubatch;
        params.n_seq_max                 = 1;
        params.cb_eval                   = witness::eval;
        params.cb_eval_user_data         = &seen;
        runner.open(params);
        int32_t pos = 0;
        for (const json & step : steps) {
            std::vector<batch_token> batch;
            for (int i = 0; i < step["n_tokens"].get<int>(); ++i, ++pos) {
                batch.push_back({tokens.at(static_cast<size_t>(pos)), pos});
            }
            seen.reads.clear();
            seen.ids.clear();
            runner.decode(batch);
            EXPECT_EQ(operations_of(step), seen.reads) << "step " << step["step"];
            expect_ids(step, seen);
        }
        EXPECT_EQ(static_cast<size_t>(pos), tokens.size());
    }

    static void expect_ids(const json & step, const witness & seen) {
        size_t next = 0;
        for (const json & e : step["entries"]) {
            if (e["operation_type"] != "MUL_MAT_ID") {
                continue;
            }
            ASSERT_LT(next, seen.ids.size());
            EXPECT_EQ(e["layer_id"], seen.ids[next].first);
            EXPECT_EQ(e["expert_ids"], json(seen.ids[next].second)) << e["dst_name"] << " of step " << step["step"];
            next += 1;
        }
        EXPECT_EQ(next, seen.ids.size());
    }

    // The trace's token ids in order of their positions.
    std::vector<int32_t> computed_tokens() {
        command({moescope_bin(), "export", trace_, "-f", "jsonl", "--force", "-o", folder_ / "rows.jsonl"});
        std::map<int32_t, int32_t> at;
        std::stringstream          lines(read_file(folder_ / "rows.jsonl"));
        for (std::string line; std::getline(lines, line);) {
            const json row      = json::parse(line);
            at[row["position"]] = row["token"];
        }
        std::vector<int32_t> tokens;
        for (const auto & [pos, token] : at) {
            tokens.push_back(token);
        }
        return tokens;
    }

    // Everything that holds of any model: sources are in the map, decoded steps weigh what it says, and the graph agrees.
    void expect_sound(const std::string & model, const std::vector<json> & steps) {
        const json_map map      = map_of(model);
        int            n_decode = 0;
        for (const json & step : steps) {
            for (const operation & o : operations_of(step)) {
                for (const std::string & s : o.sources) {
                    EXPECT_TRUE(map.has(s)) << s;
                }
            }
            if (step["phase"] == "decode") {
                n_decode += 1;
                EXPECT_EQ(step["n_tokens"], 1);
                EXPECT_EQ(touched(step, map).total(), map.per_token()) << "step " << step["step"];
            }
        }
        EXPECT_EQ(n_decode, 4);
        expect_stats(steps, map);
        expect_as_witnessed(model, steps, map);
    }

    scratch_folder folder_;
    std::string    model_ = folder_ / "model.gguf", trace_ = folder_ / "t.moetrace";
    std::string    prompt_ = "Which slices of the file does each token";  // 40 bytes: 40 tokens of a made model
};

class PlantedAccess : public AccessTrace, public testing::WithParamInterface<const char *> {
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

TEST_P(PlantedAccess, RunNamesExactlyTheKnownSlices) {
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
TEST_P(PlantedAccess, LayersThatWereNotAskedForAreLeftOut) {
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
TEST_P(PlantedAccess, RecordJoinsTheUbatchesOfABatch) {
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

INSTANTIATE_TEST_SUITE_P(AllFamilies, PlantedAccess, testing::ValuesIn(families()), family_name);

// Shared experts beside the routed ones; groups and a dense first layer; a fused gate_up; biases and per-expert scales.
TEST_F(AccessTrace, RandomModels) {
    for (const char * arch : {"qwen2moe", "deepseek2", "bailingmoe2", "gpt-oss", "gemma4"}) {
        SCOPED_TRACE(arch);
        make_model::random_options o;
        o.shape.arch = arch;
        make_model::write_random_model(model_, o);
        expect_sound(model_, steps_of_run(model_));
    }
}

TEST_F(AccessTrace, DemoModel) {
    const std::string model = source_dir() + "/models/demo.gguf";
    expect_sound(model, steps_of_run(model));
}

}  // namespace
