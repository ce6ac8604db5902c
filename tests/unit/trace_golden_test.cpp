// Every released version of the format must still read. What the golden files hold follows from formulas.

#include <gtest/gtest.h>

#include "support/golden_trace.hpp"
#include "support/source_dir.hpp"
#include "support/trace_kit.hpp"

namespace moescope::trace {
namespace {

using namespace test;

const std::string golden_v1 = test::source_dir() + "/tests/golden/v1.moetrace";
const std::string golden_v2 = test::source_dir() + "/tests/golden/v2.moetrace";

class trace_golden : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(of_every_version, trace_golden, testing::Values(golden_v1, golden_v2));

TEST_P(trace_golden, holds_what_the_formulas_say) {
    trace_reader reader(GetParam());
    reader.include_taken_back(true);

    EXPECT_EQ(reader.info().program, "make-golden");
    EXPECT_EQ(reader.info().pid, 4242);
    EXPECT_EQ(reader.info().end_reason, "finished");
    EXPECT_EQ(reader.info().run_ns, 8'000'000u);
    EXPECT_EQ(reader.info().notes, std::vector<std::string>{golden::note()});
    EXPECT_EQ(reader.model().architecture, "planted");
    ASSERT_EQ(reader.blocks().size(), 4u) << "layers 1 to 3, and the second block of layer 1";

    // Written out rather than taken from planted::make_ubatches, so that a mistake there cannot hide one in the file.
    const std::vector<std::vector<int32_t>> positions = {{0, 1, 2}, {3, 4}, {5}, {6}, {7}};
    size_t                                  n         = 0;
    for (routed_ubatch u; reader.next(u); ++n) {
        ASSERT_LT(n, positions.size());
        ASSERT_EQ(u.n_tokens(), positions[n].size());
        ASSERT_EQ(u.blocks.size(), 4u);
        EXPECT_EQ(u.batch, n < 2 ? 0 : n - 1);
        EXPECT_EQ(*access_of(reader, u), golden::accesses());
        for (uint32_t t = 0; t < u.n_tokens(); ++t) {
            EXPECT_EQ(u.pos[t], positions[n][t]);
            EXPECT_EQ(u.seq[t], 0);
            EXPECT_EQ(u.token[t], 100 + 10 * u.pos[t]);
            EXPECT_EQ(u.phases[t], n < 2 ? 0 : 1);
            EXPECT_EQ(*reader.piece(u.token[t]), " t" + std::to_string(u.token[t]));
        }
        for (const block_rows & b : u.blocks) {
            const int32_t layer = b.layout->layer;
            ASSERT_EQ(b.n_rows, layer == 3 ? 1u : u.n_tokens());
            for (uint32_t r = 0; r < b.n_rows; ++r) {
                const int32_t t = layer == 3 ? static_cast<int32_t>(u.n_tokens()) - 1 : static_cast<int32_t>(r);
                ASSERT_EQ(b.token_of(r), t);
                const int32_t pos = u.pos[static_cast<size_t>(t)];
                for (uint32_t rank = 0; rank < 4; ++rank) {
                    const uint32_t id = static_cast<uint32_t>(7 * pos + 3 * layer + static_cast<int32_t>(rank)) % 16;
                    EXPECT_EQ(b.id(r * 4 + rank), b.layout->block == 0 ? id : id / 2);
                    const double half = std::exp2(-1.0 - rank);
                    EXPECT_EQ(b.values_of(column::weights)[r * 4 + rank], static_cast<float>(half / (15.0 / 16)));
                    if (b.layout->block == 1) {
                        ASSERT_EQ(b.values_of(column::norms), nullptr);
                        continue;
                    }
                    EXPECT_EQ(b.values_of(column::weights_raw)[r * 4 + rank], half);
                    EXPECT_EQ(b.values_of(column::norms)[r * 4 + rank], 1.0f + layer + 0.125f * id);
                    EXPECT_EQ(b.values_of(column::logits)[r * 16 + id], 2.0f - 0.25f * rank);
                    EXPECT_EQ(b.values_of(column::probs)[r * 16 + id], half);
                    EXPECT_EQ(b.values_of(column::selection)[r * 16 + id], half);
                }
                for (uint32_t j = 0; j < 6 && b.layout->block == 0; ++j) {
                    EXPECT_EQ(b.values_of(column::gate_input)[r * 6 + j], (pos + 1) * (j - 3.0f) / 16 + layer);
                }
            }
        }
    }
    EXPECT_EQ(n, positions.size());
}

// Only fields are added within a version: today's writer makes the same ubatches of the same routing.
TEST_P(trace_golden, todays_writer_makes_the_same) {
    const planted::plan p        = golden::plan();
    const graph_layout  layout   = planted::layout_of(p);
    const auto          ubatches = planted::make_ubatches(p, layout);
    const access_list   access   = golden::accesses();
    EXPECT_EQ(read_all(GetParam(), true).ubatches, expected(ubatches, &access));
}

// Version 2 has what the program did to its memory.
TEST(trace_golden_v2, knows_what_was_taken_back) {
    trace_reader                       reader(golden_v2);
    std::vector<int32_t>               positions;
    std::vector<std::vector<uint32_t>> kinds;
    for (routed_ubatch u; reader.next(u);) {
        positions.insert(positions.end(), u.pos.begin(), u.pos.end());
        kinds.emplace_back();
        for (const memory_event & e : u.memory) {
            kinds.back().push_back(static_cast<uint32_t>(e.kind));
        }
    }
    EXPECT_EQ(positions, (std::vector<int32_t>{0, 1, 2, 3, 4, 6, 7})) << "position 5 was a draft";
    EXPECT_EQ(kinds, (std::vector<std::vector<uint32_t>>{{}, {}, {0, 1}, {3}}));
    EXPECT_EQ(reader.info().taken_back, 1u);
    EXPECT_EQ(reader.info().removed[1].times, 1u);
    EXPECT_EQ(reader.info().removed[1].positions, 1u);
    EXPECT_EQ(trace_reader(golden_v1).info().taken_back, 0u);
}

}  // namespace
}  // namespace moescope::trace
