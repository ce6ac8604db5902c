// A pruned model seen through its own trace, all by the command line: `prune`, `map --check`, `run`, `stats --json`.
// The model is planted, so what its smaller copy must route is known in closed form as well.

#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "make-model/planted_family.hpp"
#include "make-model/planted_model.hpp"
#include "support/model_runner.hpp"
#include "support/process.hpp"
#include "trace/reader.hpp"

namespace {

using namespace moescope;
using namespace moescope::test;
using make_model::planted_options;
using make_model::planted_truth;
using nlohmann::json;

class pruned_trace : public testing::TestWithParam<const char *> {
protected:
    std::string command(std::vector<std::string> words) {
        words.insert(words.begin(), moescope_bin());
        EXPECT_EQ(test::run(words, folder_ / "out", folder_ / "err", {"OMP_WAIT_POLICY=passive"}), 0)
            << read_file(folder_ / "err");
        return read_file(folder_ / "out");
    }

    // Selections by layer and expert, as `stats` tells them.
    std::map<int, std::map<int, uint64_t>> counts_of_run(const std::string & model, const std::string & trace) {
        command({"run", "-q", "-m", model, "-p", prompt_, "-n", "20", "--temp", "0", "-t", "1", "--ignore-eos", "-o",
                 trace});
        command({"check", trace});
        std::map<int, std::map<int, uint64_t>> counts;
        const json                             stats = json::parse(command({"stats", trace, "--json"}));
        for (const json & row : stats["experts"]) {
            counts[row["layer"]][row["expert"]] = row["count"];
        }
        return counts;
    }

    // Of the tokens that both runs compute, the first ones: each row's shared experts follow from its token by the two closed
    // forms, in the ids of the full model.
    void compare_with_full(const std::string & full, const std::string & pruned, const planted_truth & truth,
                           const planted_truth & left, const std::vector<uint32_t> & kept) {
        const json          said = json::parse(command({"analyze", "compare", full, pruned, "--json"}));
        trace::trace_reader reader(pruned);
        std::map<int, std::pair<double, int>> shared;  // by layer: sum, rows
        const int                             n_both = said["tokens_matched"];
        int                                   n_read = 0;
        for (routed_ubatch u; n_read < n_both && reader.next(u); n_read += int(u.n_tokens())) {
            for (const row & r : rows_of(u)) {
                const auto    a = truth.ids(uint32_t(r.layer), r.token);
                std::set<int> whole(a.begin(), a.end());
                int           n = 0;
                for (const int id : left.ids(uint32_t(r.layer), r.token)) {
                    n += int(whole.count(int(kept[size_t(id)])));
                }
                shared[r.layer].first += double(n) / double(a.size());
                shared[r.layer].second += 1;
            }
        }
        ASSERT_GE(n_both, int(prompt_.size()));
        ASSERT_EQ(n_read, n_both);
        for (const json & layer : said["layers"]) {
            const auto & [sum, n] = shared.at(layer["layer"]);
            EXPECT_EQ(layer["rows"], n);
            EXPECT_NEAR(layer["overlap"], sum / n, 1e-9) << layer["layer"];
            EXPECT_NEAR(layer["overlap_chance"], 3.0 / 16, 1e-12);
        }
    }

    scratch_folder folder_;
    std::string    prompt_ = "Which of the experts are gone, and who does their work?";  // a token per byte
};

TEST_P(pruned_trace, names_no_expert_that_went) {
    planted_options o;
    o.arch          = GetParam();
    o.n_expert      = 16;
    o.n_expert_used = 3;
    const planted_truth         truth(o);
    const std::vector<uint32_t> kept = {1, 2, 4, 7, 8, 11, 13, 14};
    const planted_truth         left = truth.keep(kept);
    const std::string           full = folder_ / "full.gguf", pruned = folder_ / "pruned.gguf",
                      trace = folder_ / "pruned.moetrace";
    make_model::write_planted_model(full, truth);
    {
        std::ofstream ids(folder_ / "ids.txt");
        for (uint32_t il = 0; il < o.n_layer; ++il) {
            ids << il << ":";
            for (const uint32_t id : kept) {
                ids << " " << id;
            }
            ids << "\n";
        }
    }
    command({"prune", full, "--keep-ids", folder_ / "ids.txt", "-o", pruned});
    command({"map", pruned, "--check"});
    EXPECT_NE(read_file(folder_ / "err").find("no overlap"), std::string::npos);

    const auto before = counts_of_run(full, folder_ / "full.moetrace");
    const auto after  = counts_of_run(pruned, trace);
    uint64_t   went   = 0;
    ASSERT_EQ(after.size(), o.n_layer);
    for (const auto & [il, counts] : before) {
        for (const auto & [expert, n] : counts) {
            went += std::find(kept.begin(), kept.end(), uint32_t(expert)) == kept.end() ? n : 0;
        }
    }
    EXPECT_GT(went, 0u);  // the full model does use experts that went

    compare_with_full(folder_ / "full.moetrace", trace, truth, left, kept);

    std::map<int, std::map<int, uint64_t>> want;
    trace::trace_reader                    reader(trace);
    size_t                                 n_rows = 0;
    for (routed_ubatch u; reader.next(u);) {
        for (const row & r : rows_of(u)) {
            EXPECT_EQ(r.layout.n_expert, kept.size());
            EXPECT_EQ(std::vector<int>(r.ids.begin(), r.ids.end()), left.ids(uint32_t(r.layer), r.token))
                << "layer " << r.layer;
            for (const int id : left.ids(uint32_t(r.layer), r.token)) {
                want[r.layer][id] += 1;
            }
            n_rows += 1;
        }
    }
    EXPECT_EQ(n_rows, o.n_layer * (prompt_.size() + 20));
    for (const auto & [il, counts] : after) {
        EXPECT_EQ(counts.size(), kept.size()) << "layer " << il;  // ids 0 to 7 and no other
        for (const auto & [expert, n] : counts) {
            EXPECT_EQ(n, want[il][expert]) << "layer " << il << " expert " << expert;
        }
    }
}

std::vector<const char *> families() {
    std::vector<const char *> names;
    for (const auto & f : make_model::planted_families()) {
        names.push_back(f.arch);
    }
    return names;
}

INSTANTIATE_TEST_SUITE_P(AllFamilies, pruned_trace, testing::ValuesIn(families()), [](const auto & family) {
    std::string name = family.param;
    for (char & c : name) {
        c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
    }
    return name;
});

}  // namespace
