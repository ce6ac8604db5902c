// The .moeval file: reads back what was written, and refuses what is not whole.

#include <fstream>

#include <gtest/gtest.h>

#include "core/error.hpp"
#include "evaluate/evaluation.hpp"

namespace {

using namespace moescope;
using namespace moescope::evaluate;

evaluation small_evaluation() {
    evaluation e;
    e.model          = {"qwen3moe", "a model", "m.gguf", 123, 6, 32, 4, 128, 1024, {}};
    e.identity       = {{"the model", "00ff"}, {"the corpus", "ff00"}};
    e.labels         = {"code", "prose"};
    e.unit_label     = {0, 0, 1};
    e.corpus         = "held-out.jsonl";
    e.corpus_samples = 3;
    e.n_shards       = 2;
    e.samples        = 2;
    e.tokens         = 20;
    e.failed         = {7};
    e.label_samples  = {1, 1};
    e.next_unit      = 1;
    e.group          = {2, 1};
    for (int p = 0; p < 2; ++p) {
        plan x;
        x.kind          = plan_kind::expert;
        x.name          = "0/" + std::to_string(p);
        x.layer         = 0;
        x.expert        = p;
        x.omitted_share = 0.25;
        x.mask.omit(0, p);
        e.plans.push_back(x);
        std::vector<damage_sums> units(3);
        double                   i = 0;
        for (damage_sums & u : units) {
            u = damage_sums::of({1 + i, 0.1 + p, 1.0 / 3, 1e-300, 0, 5, 100, i});
            i += 1;
        }
        e.sums.push_back(units);
    }
    e.group_plans = {{damage_sums(), damage_sums::of({1, 2, 3, 4, 5, 6, 7, 8})}};
    return e;
}

void expect_equal(const evaluation & a, const evaluation & b) {
    EXPECT_EQ(a.model.file, b.model.file);
    EXPECT_EQ(a.identity, b.identity);
    EXPECT_EQ(a.labels, b.labels);
    EXPECT_EQ(a.unit_label, b.unit_label);
    EXPECT_EQ(a.failed, b.failed);
    EXPECT_EQ(a.group, b.group);
    EXPECT_EQ(a.shards, b.shards);
    ASSERT_EQ(a.sums.size(), b.sums.size());
    for (size_t p = 0; p < a.sums.size(); ++p) {
        EXPECT_EQ(a.plans[p].mask, b.plans[p].mask);
        EXPECT_EQ(a.plans[p].kind, b.plans[p].kind);
        for (size_t u = 0; u < a.sums[p].size(); ++u) {
            EXPECT_EQ(a.sums[p][u].values(), b.sums[p][u].values());
        }
    }
    ASSERT_EQ(a.group_plans.size(), b.group_plans.size());
    EXPECT_EQ(a.group_plans[0][1].values(), b.group_plans[0][1].values());
}

std::string reason_of(const std::string & bytes) {
    try {
        decode_moeval(bytes, "x.moeval");
    } catch (const error & e) {
        EXPECT_EQ(e.file(), "x.moeval");
        return e.reason();
    }
    return "";
}

TEST(moeval, reads_back_what_was_written) {
    const evaluation e = small_evaluation();
    expect_equal(decode_moeval(encode_moeval(e), "x"), e);
}

TEST(moeval, refuses_what_is_cut_or_changed) {
    const std::string whole = encode_moeval(small_evaluation());
    for (size_t n = 0; n < whole.size(); ++n) {
        EXPECT_NE(reason_of(whole.substr(0, n)), "") << n << " bytes";
    }
    for (size_t i = 0; i < whole.size(); ++i) {  // a changed byte is another number, or an error; never a crash
        std::string changed = whole;
        changed[i]          = static_cast<char>(changed[i] ^ 0x55);
        reason_of(changed);
    }
    EXPECT_NE(reason_of("MOEEVAL\n").find("damaged"), std::string::npos);
    EXPECT_NE(reason_of("something else").find("no evaluation"), std::string::npos);
}

// What the reader of CBOR would follow level by level, until there is no stack left.
TEST(moeval, refuses_what_is_nested_without_end) {
    for (const char * level : {"\x81", "\xa1\x61\x6b", "\x7f", "\x9f", "\xc1"}) {
        std::string bytes = "MOEEVAL\n";
        for (int i = 0; i < 1'000'000; ++i) {
            bytes += level;
        }
        EXPECT_THROW(decode_moeval(bytes, "deep"), error) << level;
    }
}

TEST(moeval, refuses_lengths_that_do_not_fit) {
    // An array of 2^64 - 1 items; a text of 2^63 bytes; a map of 2^63 pairs, twice of which is 0 in 64 bits.
    for (const char * head :
         {"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "\x7b\x80\0\0\0\0\0\0\0", "\xbb\x80\0\0\0\0\0\0\0"}) {
        EXPECT_THROW(decode_moeval("MOEEVAL\n" + std::string(head, 9), "long"), error);
    }
}

TEST(moeval, refuses_sums_that_do_not_fit) {
    evaluation e = small_evaluation();
    e.unit_label = {0, 0};
    EXPECT_NE(reason_of(encode_moeval(e)), "");
    e            = small_evaluation();
    e.unit_label = {0, 0, 2};
    EXPECT_NE(reason_of(encode_moeval(e)), "");
    e = small_evaluation();
    e.plans.pop_back();
    EXPECT_NE(reason_of(encode_moeval(e)), "");
}

TEST(moeval, shards_add_up_once) {
    evaluation a = small_evaluation(), b = small_evaluation();
    a.complete = b.complete = true;
    b.shards                = {1};
    add_shard(a, b, "b");
    EXPECT_EQ(a.shards, (std::vector<uint64_t>{0, 1}));
    EXPECT_EQ(a.samples, 4u);
    EXPECT_EQ(a.label_samples, (std::vector<uint64_t>{2, 2}));
    EXPECT_EQ(a.sums[1][2].tokens, 2 * b.sums[1][2].tokens);
    EXPECT_THROW(add_shard(a, b, "b"), error);  // again

    evaluation c = small_evaluation();
    c.shards     = {1};
    evaluation d = small_evaluation();
    EXPECT_THROW(add_shard(d, c, "c"), error);  // not finished
    c.complete           = true;
    c.identity[1].second = "other";
    EXPECT_EQ(difference(d, c), "the corpus");
    EXPECT_THROW(add_shard(d, c, "c"), error);
}

}  // namespace
