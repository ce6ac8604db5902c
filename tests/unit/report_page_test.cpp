// What the page is given: sums of a run, stretches of tokens, the container, and the safety of the file around it.

#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <zlib.h>

#include "report/bundle.hpp"
#include "report/collector.hpp"
#include "report/html.hpp"
#include "report/page_bundle.hpp"
#include "report/tiles.hpp"
#include "support/planted_trace.hpp"

using namespace moescope;
using namespace moescope::test;
using namespace moescope::report;
using nlohmann::json;

namespace {

struct planted_run {
    planted::plan                     plan;
    graph_layout                      layout;
    std::vector<planted::ubatch_data> ubatches;

    explicit planted_run(planted::plan p) : plan(std::move(p)), layout(planted::layout_of(plan)) {
        ubatches = planted::make_ubatches(plan, layout);
    }
    page_run collect() const {
        run_collector c(1'000'000);
        for (const auto & u : ubatches) {
            c.ubatch(u.view);
        }
        page_run run = c.result();
        run.pairs    = c.pairs();
        return run;
    }
    // Which (layer index, position, sequence) rows exist.
    template <class F>
    void each_row(F && f) const {
        for (size_t i = 0; i < ubatches.size(); ++i) {
            const auto & u = ubatches[i];
            for (size_t l = 0; l < layout.size(); ++l) {
                const bool last_only = u.blocks[l].n_rows == 1 && u.view.token.size() > 1;
                for (size_t t = last_only ? u.view.token.size() - 1 : 0; t < u.view.token.size(); ++t) {
                    f(i, l, u.view.pos[t], u.view.seq[t]);
                }
            }
        }
    }
};

planted::plan busy_plan() {
    planted::plan p;
    p.n_prompt    = 40;
    p.n_generated = 25;
    p.n_ubatch    = 7;
    return p;
}

TEST(report_collector, counts_every_selection_once) {
    const planted_run                                       run(busy_plan());
    std::map<std::pair<size_t, uint32_t>, int>              count, decoded;
    std::map<std::pair<size_t, uint32_t>, std::set<size_t>> readers;
    run.each_row([&](size_t ubatch, size_t l, int32_t pos, int32_t seq) {
        for (uint32_t r = 0; r < run.plan.k; ++r) {
            const auto cell = std::pair(l, planted::id_of(run.plan, run.layout[l].layer, pos, seq, r));
            count[cell] += 1;
            decoded[cell] += pos >= static_cast<int32_t>(run.plan.n_prompt);
            readers[cell].insert(ubatch);
        }
    });
    const page_run page = run.collect();
    ASSERT_EQ(page.blocks.size(), run.layout.size());
    for (size_t l = 0; l < run.layout.size(); ++l) {
        for (uint32_t e = 0; e < run.plan.n_expert; ++e) {
            const size_t cell = page.blocks[l].first_cell + e;
            const auto   key  = std::pair(l, e);
            EXPECT_EQ(page.cells.count[cell], static_cast<uint64_t>(count[key]));
            EXPECT_EQ(page.cells.count_decoded[cell], static_cast<uint64_t>(decoded[key]));
            EXPECT_EQ(page.cells.accesses[cell], readers[key].size());
        }
    }
    EXPECT_EQ(page.tokens, 65u);
    EXPECT_EQ(page.decoded, 25u);
}

TEST(report_collector, means_follow_the_formulas) {
    const planted_run                                          run(busy_plan());
    std::map<std::pair<size_t, uint32_t>, std::vector<double>> weight, product;
    run.each_row([&](size_t, size_t l, int32_t pos, int32_t seq) {
        const int32_t il = run.layout[l].layer;
        for (uint32_t r = 0; r < run.plan.k; ++r) {
            const uint32_t id = planted::id_of(run.plan, il, pos, seq, r);
            const double   w  = double(planted::value_of(run.plan, column::weights, il, pos, id, r));
            const double   n  = double(planted::value_of(run.plan, column::norms, il, pos, id, r));
            weight[{l, id}].push_back(w);
            product[{l, id}].push_back(w * n);
        }
    });
    const auto mean = [](const std::vector<double> & v) {
        double sum = 0;
        for (double x : v) {
            sum += x;
        }
        return sum / static_cast<double>(v.size());
    };
    const page_run page = run.collect();
    for (const auto & [key, values] : weight) {
        const size_t cell = page.blocks[key.first].first_cell + key.second;
        EXPECT_NEAR(page.cells.weight_mean[cell], mean(values), 1e-12);
        EXPECT_NEAR(page.cells.reap[cell], mean(product[key]), 1e-12);
        EXPECT_NEAR(page.cells.ean[cell], 1.0 + run.layout[key.first].layer + 0.125 * key.second, 1e-12);
    }
}

TEST(report_collector, pairs_are_counted_per_row) {
    const planted_run                                          run(busy_plan());
    std::map<std::tuple<size_t, uint32_t, uint32_t>, uint64_t> together;
    run.each_row([&](size_t, size_t l, int32_t pos, int32_t seq) {
        for (uint32_t i = 0; i < run.plan.k; ++i) {
            for (uint32_t j = 0; j < run.plan.k; ++j) {
                together[{l, planted::id_of(run.plan, run.layout[l].layer, pos, seq, i),
                          planted::id_of(run.plan, run.layout[l].layer, pos, seq, j)}] += 1;
            }
        }
    });
    const page_run page = run.collect();
    const uint32_t n    = run.plan.n_expert;
    for (size_t l = 0; l < run.layout.size(); ++l) {
        for (uint32_t a = 0; a < n; ++a) {
            for (uint32_t b = a + 1; b < n; ++b) {
                EXPECT_EQ(page.pairs.count[l][a * (2 * n - a - 1) / 2 + (b - a - 1)], (together[{l, a, b}]));
            }
        }
    }
    run_collector small(10);  // room for fewer pairs than there are
    small.ubatch(run.ubatches[0].view);
    EXPECT_FALSE(small.pairs().complete);
    EXPECT_TRUE(small.pairs().count[0].empty());
}

// Graphs of one run may differ in what was captured of a block; the page shows the means of what has them.
TEST(report_collector, blocks_have_the_columns_of_all_graphs) {
    planted::plan p = busy_plan();
    p.columns       = column::ids | column::norms;
    const planted_run bare(p);
    p.columns = column::ids | column::weights;
    const planted_run weighed(p);
    run_collector     c(0);
    c.ubatch(bare.ubatches.at(0).view);
    EXPECT_EQ(c.blocks(), bare.layout);
    EXPECT_TRUE(c.result().cells.weight_mean.empty());
    c.ubatch(weighed.ubatches.at(0).view);
    for (const block_layout & l : c.blocks()) {
        EXPECT_EQ(l.columns, column::ids | column::norms | column::weights);
    }
    const page_cells cells = c.result().cells;
    EXPECT_EQ(cells.weight_mean.size(), cells.count.size());
    EXPECT_TRUE(cells.reap.empty());  // no row has both
}

TEST(report_tiles, hold_what_was_routed_from_any_token) {
    const planted_run run(busy_plan());
    for (const uint64_t first : {0u, 1u, 13u, 39u, 50u}) {
        const size_t skipped = first / run.plan.n_ubatch / 2;  // ubatches, all of n_ubatch tokens
        tile_builder builder(first, 20, run.layout, skipped * run.plan.n_ubatch);
        for (size_t i = skipped; i < run.ubatches.size(); ++i) {
            builder.ubatch(run.ubatches[i].view);
        }
        const token_tile tile = builder.finish(nullptr);
        ASSERT_EQ(tile.size(), std::min<uint64_t>(20, 65 - first));
        for (size_t i = 0; i < tile.size(); ++i) {
            const auto pos = static_cast<int32_t>(first + i);
            EXPECT_EQ(tile.pos[i], pos);
            EXPECT_EQ(tile.token[i], planted::token_of(pos, 0));
            for (size_t l = 0; l < run.layout.size(); ++l) {
                const auto & rows    = tile.blocks[l];
                const bool   present = rows.present.empty() || rows.present[i] != 0;
                // The last layer computes only the last row of a prompt's ubatch: positions 6, 13, …, 39.
                const bool expected = l + 1 < run.layout.size() || pos >= 40 || pos % 7 == 6 || pos == 39;
                EXPECT_EQ(present, expected) << "layer " << l << " position " << pos;
                for (uint32_t r = 0; present && r < run.plan.k; ++r) {
                    EXPECT_EQ(rows.ids[i * run.plan.k + r], planted::id_of(run.plan, run.layout[l].layer, pos, 0, r));
                }
            }
        }
    }
}

// Reads the container by its description alone.
struct opened {
    json        document;
    std::string arrays;

    explicit opened(const std::string & bytes) {
        std::string body = bytes.substr(8);
        if (bytes.substr(0, 8) == "MOEPAGEZ") {
            std::string out(1u << 20, '\0');
            uLongf      size = out.size();
            EXPECT_EQ(uncompress(reinterpret_cast<Bytef *>(out.data()), &size,
                                 reinterpret_cast<const Bytef *>(body.data()), body.size()),
                      Z_OK);
            body = out.substr(0, size);
        } else {
            EXPECT_EQ(bytes.substr(0, 8), "MOEPAGE0");
        }
        uint32_t length;
        std::memcpy(&length, body.data(), 4);
        document = json::parse(body.substr(4, length));
        arrays   = body.substr(4 + length);
        EXPECT_EQ((4 + length) % 8, 0u);
    }
    std::vector<double> numbers(const json & reference) const {
        const json &        a    = document["arrays"][reference["@"].get<size_t>()];
        const std::string   type = a["type"];
        const char *        at   = arrays.data() + a["offset"].get<size_t>();
        std::vector<double> out;
        for (size_t i = 0; i < a["length"].get<size_t>(); ++i) {
            const auto read = [&](auto v) {
                std::memcpy(&v, at + i * sizeof(v), sizeof(v));
                out.push_back(static_cast<double>(v));
            };
            if (type == "u8")
                read(uint8_t{});
            else if (type == "u16")
                read(uint16_t{});
            else if (type == "u32")
                read(uint32_t{});
            else if (type == "i32")
                read(int32_t{});
            else if (type == "f32")
                read(float{});
            else
                read(double{});
        }
        return out;
    }
};

TEST(report_bundle, counts_take_the_narrowest_type_that_holds_them) {
    for (const uint64_t most : {200ull, 60000ull, 4000000000ull, 9007199254740992ull}) {
        const std::vector<uint64_t> counts = {0, 1, most};
        for (const bool compress : {false, true}) {
            bundle     b;
            json       document = {{"first", b.add(std::vector<uint8_t>{1, 2, 3})}, {"counts", b.add_counts(counts)}};
            const auto o        = opened(b.finish(document, compress));
            EXPECT_EQ(o.numbers(o.document["counts"]), (std::vector<double>{0, 1, static_cast<double>(most)}));
            EXPECT_EQ(o.numbers(o.document["first"]), (std::vector<double>{1, 2, 3}));
        }
    }
}

TEST(report_bundle, weights_keep_five_digits) {
    const planted_run run(busy_plan());
    page              p;
    p.runs.push_back(run.collect());
    tile_builder builder(0, 1000, run.layout);
    for (const auto & u : run.ubatches) {
        builder.ubatch(u.view);
    }
    p.runs[0].tile = builder.finish(nullptr);
    const auto   o = opened(to_bytes(p, true));
    const json & w = o.document["runs"][0]["tile"]["rows"][0]["weights"];
    const auto   q = o.numbers(w["value"]);
    ASSERT_EQ(q.size(), 65u * run.plan.k);
    for (size_t i = 0; i < q.size(); ++i) {
        const double weight = w["least"].get<double>() + w["step"].get<double>() * q[i];
        EXPECT_NEAR(
            weight,
            double(planted::value_of(run.plan, column::weights, 1, 0, 0, static_cast<uint32_t>(i % run.plan.k))), 1e-5);
    }
}

TEST(report_html, data_cannot_break_out) {
    page p;
    p.runs.emplace_back();
    p.runs[0].label = "</script><script>alert(1)</script>";
    p.runs[0].tile.pieces.emplace_back(7, "</script><img src=x onerror=alert(1)>\xff\x00");
    const std::string html = page_with_data(to_bytes(p, false));
    const size_t      at   = html.find("id=\"data\">") + 10;
    const size_t      end  = html.find("</script>", at);
    ASSERT_NE(end, std::string::npos);
    EXPECT_GT(end - at, 100u);
    EXPECT_EQ(html.substr(at, end - at)
                  .find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="),
              std::string::npos);
    EXPECT_EQ(html.find("onerror=alert"), std::string::npos);
}

TEST(report_html, the_policy_allows_nothing_but_the_page_itself) {
    const std::string policy = content_security_policy();
    EXPECT_NE(policy.find("default-src 'none'"), std::string::npos);
    EXPECT_NE(policy.find("script-src 'sha256-"), std::string::npos);
    EXPECT_EQ(policy.find("unsafe"), std::string::npos);
    EXPECT_EQ(policy.find("http"), std::string::npos);
    EXPECT_EQ(page_template().find("<script src"), std::string::npos);
    EXPECT_EQ(page_template().find("<link rel=\"stylesheet\""), std::string::npos);
}

}  // namespace
