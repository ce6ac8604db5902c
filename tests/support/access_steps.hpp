#pragma once

// Access traces as users read them (access-json): what a step touches, what the memory map says of it, and a witness of
// the test's own in llama.cpp's graph.

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "model_runner.hpp"
#include "process.hpp"

namespace moescope::test {

// The map as users read it, with what its rows say about tensors read in pieces.
class json_map {
public:
    explicit json_map(const nlohmann::json & map) : per_token_(map["totals"]["bytes_per_token"]) {
        for (const nlohmann::json & t : map["tensors"]) {
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

    touched(const nlohmann::json & step, const json_map & map) {
        for (const nlohmann::json & e : step["entries"]) {
            for (const nlohmann::json & s : e["sources"]) {
                const std::string name = s["name"];
                if (e.contains("expert_ids")) {
                    for (const nlohmann::json & row : e["expert_ids"]) {
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

inline void PrintTo(const operation & o, std::ostream * out) {
    *out << o.op << " " << o.dst << " <-";
    for (const std::string & s : o.sources) {
        *out << " " << s;
    }
}

inline std::vector<operation> operations_of(const nlohmann::json & step) {
    std::vector<operation> list;
    for (const nlohmann::json & e : step["entries"]) {
        operation o{e["operation_type"], e["dst_name"], {}};
        for (const nlohmann::json & s : e["sources"]) {
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

class access_trace : public testing::Test {
protected:
    static constexpr int n_ubatch = 16;

    void command(const std::vector<std::string> & words) {
        ASSERT_EQ(run(words, folder_ / "out", folder_ / "err", {"OMP_WAIT_POLICY=passive"}), 0)
            << read_file(folder_ / "err");
    }

    json_map map_of(const std::string & model) {
        command({moescope_bin(), "map", model, "-f", "json", "--force", "-o", folder_ / "map.json"});
        return json_map(nlohmann::json::parse(read_file(folder_ / "map.json")));
    }

    // Runs the model on 40 tokens in three ubatches and four more, one by one; returns the exported steps.
    std::vector<nlohmann::json> steps_of_run(const std::string & model, const std::vector<std::string> & more = {}) {
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

    std::vector<nlohmann::json> exported() {
        command({moescope_bin(), "export", trace_, "-f", "access-json", "--force", "-o", folder_ / "access"});
        EXPECT_EQ(read_file(folder_ / "err"), "");
        std::vector<nlohmann::json> steps;
        for (;;) {
            char name[40];
            std::snprintf(name, sizeof(name), "access/traces/token-%05zu.json", steps.size());
            if (!std::filesystem::exists(folder_ / name)) {
                return steps;
            }
            steps.push_back(nlohmann::json::parse(read_file(folder_ / name)));
        }
    }

    // What `stats --access` says equals the sums over the steps, where each of them is one ubatch.
    void expect_stats(const std::vector<nlohmann::json> & steps, const json_map & map) {
        command({moescope_bin(), "stats", trace_, "--access", "--json", "--force", "-o", folder_ / "stats.json"});
        const nlohmann::json stats = nlohmann::json::parse(read_file(folder_ / "stats.json"));
        std::map<std::string, std::pair<uint64_t, uint64_t>> want, got;  // reads, bytes
        uint64_t                                             bytes = 0;
        for (const nlohmann::json & step : steps) {
            for (const auto & [name, n] : touched(step, map).bytes) {
                want[name].first += 1;
                want[name].second += n;
                bytes += n;
            }
        }
        for (const nlohmann::json & row : stats["slices"]) {
            got[row["tensor"].get<std::string>() + "[" + std::to_string(row["expert"].get<int>()) + "]"] = {
                row["reads"], row["bytes"]};
        }
        for (const nlohmann::json & row : stats["tensors"]) {
            got[row["tensor"]] = {row["reads"], row["bytes"]};
        }
        EXPECT_EQ(got, want);
        EXPECT_EQ(stats["bytes"], bytes);
    }

    // The same tokens in the same ubatches, watched by the test itself.
    void expect_as_witnessed(const std::string & model, const std::vector<nlohmann::json> & steps,
                             const json_map & map) {
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
        for (const nlohmann::json & step : steps) {
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

    static void expect_ids(const nlohmann::json & step, const witness & seen) {
        size_t next = 0;
        for (const nlohmann::json & e : step["entries"]) {
            if (e["operation_type"] != "MUL_MAT_ID") {
                continue;
            }
            ASSERT_LT(next, seen.ids.size());
            EXPECT_EQ(e["layer_id"], seen.ids[next].first);
            EXPECT_EQ(e["expert_ids"], nlohmann::json(seen.ids[next].second))
                << e["dst_name"] << " of step " << step["step"];
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
            const nlohmann::json row = nlohmann::json::parse(line);
            at[row["position"]]      = row["token"];
        }
        std::vector<int32_t> tokens;
        for (const auto & [pos, token] : at) {
            tokens.push_back(token);
        }
        return tokens;
    }

    // Everything that holds of any model: sources are in the map, decoded steps weigh what it says, and the graph agrees.
    void expect_sound(const std::string & model, const std::vector<nlohmann::json> & steps) {
        const json_map map      = map_of(model);
        int            n_decode = 0;
        for (const nlohmann::json & step : steps) {
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

}  // namespace moescope::test
