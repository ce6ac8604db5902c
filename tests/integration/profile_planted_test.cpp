// `moescope profile` and `moescope merge` on planted models, whose routing, gates and norms are known in closed form.

#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "llama.h"
#include "make-model/planted_model.hpp"
#include "stats/moestats.hpp"
#include "support/scratch_folder.hpp"

namespace {

using namespace moescope;
using namespace moescope::make_model;
namespace fs = std::filesystem;

std::string read_file(const fs::path & path) {
    std::ifstream      in(path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

// Texts of many lengths, some longer than the ubatch of 64 tokens that the tests use, one longer than the context.
std::vector<std::string> texts() {
    std::vector<std::string> list;
    for (int i = 0; i < 300; ++i) {
        std::string text;
        for (int n = 3 + (i * 37) % (i % 50 == 7 ? 200 : 40); n > 0; --n) {
            text += static_cast<char>('a' + (i * 7 + n * n) % 26);
        }
        list.push_back(text);
    }
    list.emplace_back(400, 'z');
    return list;
}

constexpr uint32_t n_ctx = 256;

class profile_test : public ::testing::Test {
protected:
    void SetUp() override {
        llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    }
    fs::path at(const std::string & name) const { return scratch_ / name; }

    planted_truth plant(const std::string & arch) {
        planted_options o;
        o.arch = arch;
        planted_truth truth(o);
        write_planted_model(at("model.gguf").string(), truth);
        std::ofstream corpus(at("corpus.jsonl"));
        for (const std::string & t : texts()) {
            corpus << "{\"text\": \"" << t << "\", \"kind\": \"" << (t.size() % 2 ? "odd" : "even") << "\"}\n";
        }
        return truth;
    }

    // The tokens of all samples as the model's vocabulary has them, cut to the context.
    std::map<int32_t, uint64_t> token_counts(uint64_t & total) const {
        llama_model_params params         = llama_model_default_params();
        params.vocab_only                 = true;
        llama_model *               model = llama_model_load_from_file(at("model.gguf").c_str(), params);
        std::map<int32_t, uint64_t> counts;
        total = 0;
        for (const std::string & t : texts()) {
            std::vector<int32_t> tokens(t.size() + 8);
            const int32_t n = llama_tokenize(llama_model_get_vocab(model), t.c_str(), int32_t(t.size()), tokens.data(),
                                             int32_t(tokens.size()), true, true);
            for (int32_t i = 0; i < std::min<int32_t>(n, n_ctx); ++i) {
                counts[tokens[size_t(i)]] += 1;
                total += 1;
            }
        }
        llama_model_free(model);
        return counts;
    }

    std::string command(const std::string & output, const std::string & more) const {
        return std::string(std::getenv("MOESCOPE_BIN")) + " profile -q -t 1 -c " + std::to_string(n_ctx) +
               " -ub 64 -m " + at("model.gguf").string() + " --jsonl " + at("corpus.jsonl").string() + " -o " +
               at(output).string() + " " + more;
    }
    int run(const std::string & line) const {
        const int status = std::system(line.c_str());
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    stats::moestats profile(const std::string & name, const std::string & more = "") const {
        EXPECT_EQ(run(command(name + ".json", more)), 0);
        return stats::read_moestats(at(name + ".moestats").string());
    }

    test::scratch_folder scratch_;
};

void expect_close(double got, double want) {
    EXPECT_NEAR(got, want, 1e-6 * std::abs(want) + 1e-300);
}

void expect_closed_form(const stats::moestats & s, const planted_truth & truth,
                        const std::map<int32_t, uint64_t> & tokens, uint64_t total, bool raw) {
    ASSERT_EQ(s.blocks.size(), truth.options().n_layer);
    EXPECT_EQ(s.tokens(), total);
    for (uint32_t il = 0; il < truth.options().n_layer; ++il) {
        const stats::saliency_block & b = s.blocks[il];
        std::vector<uint64_t>         count(truth.options().n_expert);
        std::vector<double>           gate(count.size()), norm(count.size()), gated(count.size());
        for (const auto & [token, n] : tokens) {
            const auto ids = truth.ids(il, token);
            const auto g   = raw ? truth.weights_raw(il, token) : truth.weights(il, token);
            const auto f   = truth.norms(il, token);
            for (size_t i = 0; i < ids.size(); ++i) {
                const auto e = size_t(ids[i]);
                count[e] += n;
                gate[e] += double(n) * g[i];
                norm[e] += double(n) * f[i];
                gated[e] += double(n) * g[i] * f[i];
            }
        }
        EXPECT_EQ(b.rows, total);  // the last layer, too: all rows' logits are asked for (trap 6)
        EXPECT_EQ(b.count, count);
        for (uint32_t e = 0; e < count.size(); ++e) {
            expect_close(b.gate[e], gate[e]);
            expect_close(b.norm[e], norm[e]);
            expect_close(b.gated_norm[e], gated[e]);
            if (count[e] > 0) {
                expect_close(b.reap(e), gated[e] / double(count[e]));
                expect_close(b.ean(e), norm[e] / double(count[e]));
            }
        }
    }
}

void expect_same_sums(const stats::moestats & a, const stats::moestats & b) {
    ASSERT_EQ(a.blocks.size(), b.blocks.size());
    for (size_t i = 0; i < a.blocks.size(); ++i) {
        EXPECT_EQ(a.blocks[i].rows, b.blocks[i].rows);
        EXPECT_EQ(a.blocks[i].count, b.blocks[i].count);
        EXPECT_EQ(a.blocks[i].label_count, b.blocks[i].label_count);
        for (size_t e = 0; e < a.blocks[i].gated_norm.size(); ++e) {
            expect_close(a.blocks[i].gated_norm[e], b.blocks[i].gated_norm[e]);
            expect_close(a.blocks[i].norm[e], b.blocks[i].norm[e]);
            expect_close(a.blocks[i].gate[e], b.blocks[i].gate[e]);
        }
    }
}

TEST_F(profile_test, equals_the_closed_form_on_every_planted_architecture) {
    for (const std::string & arch : planted_architectures()) {
        SCOPED_TRACE(arch);
        const planted_truth truth  = plant(arch);
        uint64_t            total  = 0;
        const auto          tokens = token_counts(total);
        expect_closed_form(profile("final", "--force"), truth, tokens, total, false);
        expect_closed_form(profile("raw", "--force --gate raw"), truth, tokens, total, true);
    }
}

TEST_F(profile_test, packed_equals_one_by_one) {
    plant("qwen3moe");
    const stats::moestats packed = profile("packed", "--label-key kind"),
                          single = profile("single", "--label-key kind -np 1");
    expect_same_sums(packed, single);
    EXPECT_EQ(packed.corpora[0].truncated, 1u);
    for (const stats::saliency_block & b : packed.blocks) {
        ASSERT_EQ(b.label_rows.size(), 2u);
        EXPECT_EQ(b.label_rows[0] + b.label_rows[1], b.rows);
        EXPECT_GT(b.label_rows[0], 0u);
        EXPECT_GT(b.label_rows[1], 0u);
    }
}

TEST_F(profile_test, shards_merge_to_the_whole) {
    plant("gpt-oss");
    const stats::moestats whole = profile("whole");
    profile("a", "--shard 0/2");
    profile("b", "--shard 1/2");
    const std::string merge = std::string(std::getenv("MOESCOPE_BIN")) + " merge -q " + at("a.moestats").string() + " ";
    EXPECT_EQ(run(merge + at("b.moestats").string() + " -o " + at("ab.moestats").string()), 0);
    expect_same_sums(stats::read_moestats(at("ab.moestats").string()), whole);
    // Adding a part twice, or a profile made otherwise, is refused and leaves nothing behind.
    profile("raw", "--gate raw --shard 1/2");
    for (const std::string & other : {at("a.moestats").string(), at("raw.moestats").string()}) {
        EXPECT_EQ(run(merge + other + " -o " + at("bad.moestats").string() + " 2>/dev/null"), 1);
        EXPECT_FALSE(fs::exists(at("bad.moestats")));
    }
}

// Killed at any moment, a resumed profile ends in the same bytes as one that was left alone.
TEST_F(profile_test, resume_equals_an_uninterrupted_run) {
    plant("qwen3moe");
    profile("whole", "--label-key kind");
    const std::string whole = read_file(at("whole.moestats"));
    for (const int how : {SIGKILL, SIGINT, SIGTERM}) {
        SCOPED_TRACE(how);
        fs::remove(at("cut.moestats"));
        int kills = 0;
        for (int attempt = 0; attempt < 40; ++attempt) {
            const pid_t child = ::fork();
            if (child == 0) {
                const std::string line =
                    "exec " + command("cut.json", "--label-key kind --save-every 1 --resume") + " 2>/dev/null";
                ::execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
                ::_exit(127);
            }
            // Wait until it has saved something new, then strike.
            const std::string before = read_file(at("cut.moestats"));
            int               status = 0;
            pid_t             ended  = 0;
            while ((ended = ::waitpid(child, &status, WNOHANG)) == 0 && read_file(at("cut.moestats")) == before) {
                ::usleep(1000);
            }
            if (ended == 0) {
                ::kill(child, how);
                ::waitpid(child, &status, 0);
            }
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
                break;
            }
            ++kills;
            if (how != SIGKILL) {
                EXPECT_TRUE(WIFEXITED(status)) << status;
                EXPECT_EQ(WEXITSTATUS(status), 128 + how);
            }
            if (kills == 3) {
                EXPECT_EQ(run(command("cut.json", "--label-key kind --resume")), 0);
                break;
            }
        }
        EXPECT_GT(kills, 0) << "the run was never caught on its way";
        EXPECT_EQ(read_file(at("cut.moestats")), whole);
        EXPECT_EQ(read_file(at("cut.json")), read_file(at("whole.json")));
    }
}

TEST_F(profile_test, resume_refuses_other_options) {
    plant("qwen3moe");
    profile("p");
    const std::string before = read_file(at("p.moestats"));
    for (const char * more : {"--gate raw", "--limit 10", "-c 512", "-np 2", "--last-layer requested"}) {
        EXPECT_EQ(run(command("p.json", std::string("--resume ") + more) + " 2>/dev/null"), 1) << more;
    }
    EXPECT_EQ(read_file(at("p.moestats")), before);
}

}  // namespace
