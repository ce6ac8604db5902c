// The JSONL corpus reader and what chooses rows, on lines as people write them.

#include "infer/corpus.hpp"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "core/error.hpp"
#include "infer/logit_rows.hpp"

namespace {

using namespace moescope;
using namespace moescope::infer;

corpus parse(const std::string & text, const corpus_options & options = {}) {
    return parse_jsonl(text, "test.jsonl", options);
}

std::string only_text(const std::string & line, const corpus_options & options = {}) {
    const corpus c = parse(line, options);
    return c.samples.size() == 1 ? c.samples[0].text : "not one sample";
}

TEST(corpus, joins_prompt_and_response) {
    EXPECT_EQ(only_text(R"({"prompt": "2+2", "response": "4"})"), "2+2\n4");
    EXPECT_EQ(only_text(R"({"prompt": "alone"})"), "alone");
    EXPECT_EQ(only_text(R"({"prompt": "p", "response": null})"), "p");
    EXPECT_EQ(only_text(R"({"text": "plain"})"), "plain");
    corpus_options gsm8k;
    gsm8k.prompt_key   = "question";
    gsm8k.response_key = "answer";
    EXPECT_EQ(only_text(R"({"question": "Q", "answer": "A"})", gsm8k), "Q\nA");
}

TEST(corpus, a_line_that_is_nested_without_end_is_malformed) {
    const auto deep = [](size_t n) {
        return R"({"text": "a", "label": )" + std::string(n, '[') + std::string(n, ']') + "}\n";
    };
    corpus_options labelled;
    labelled.label_key = "label";
    const corpus c     = parse(deep(127) + deep(128) + deep(1'000'000), labelled);
    EXPECT_EQ(c.samples.size(), 1u) << "the object is the first of 128 levels";
    ASSERT_EQ(c.malformed.size(), 2u);
    EXPECT_EQ(c.malformed[1].what, "arrays or objects lie more than 128 deep");
}

TEST(corpus, decodes_escapes_and_surrogate_pairs) {
    EXPECT_EQ(only_text(R"({"text": "a\"b\\c\/d\n\t\u00e9\ud83d\ude00"})"), "a\"b\\c/d\n\t\xc3\xa9\xf0\x9f\x98\x80");
    EXPECT_EQ(only_text(R"({"meta": {"text": ["no", {"prompt": "no"}]}, "text": "yes"})"), "yes");
}

TEST(corpus, reads_messages) {
    const corpus c = parse(
        R"({"messages": [{"role": "user", "content": "hi"},
)"
        R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, {"role": "assistant", "content": "c"}]})");
    ASSERT_EQ(c.samples.size(), 1u);
    ASSERT_EQ(c.samples[0].messages.size(), 2u);
    EXPECT_EQ(c.samples[0].messages[0].content, "ab");
    EXPECT_EQ(c.samples[0].messages[1].role, "assistant");
    EXPECT_EQ(c.malformed.size(), 1u);  // the first line is cut
}

TEST(corpus, counts_and_names_malformed_lines) {
    const corpus          c = parse("{\"text\": \"one\"}\r\n"
                                             "\n"
                                             "{\"text\": \"cut\n"
                                             "[1, 2]\n"
                                             "{\"text\": 5}\n"
                                             "{\"other\": \"x\"}\n"
                                             "{\"text\": \"lone \\ud83d\"}\n"
                                             "{\"text\": \"bad \xff\"}\n"
                                             "{\"text\": \"\"}\n"
                                             "{\"text\": \"two\"}");
    std::vector<uint64_t> lines;
    for (const malformed_line & m : c.malformed) {
        lines.push_back(m.line);
        EXPECT_FALSE(m.what.empty());
    }
    EXPECT_EQ(lines, (std::vector<uint64_t>{3, 4, 5, 6, 7, 8}));
    EXPECT_EQ(c.n_empty, 1u);
    ASSERT_EQ(c.samples.size(), 2u);
    EXPECT_EQ(c.samples[1].text, "two");
    EXPECT_EQ(c.samples[1].line, 10u);
}

TEST(corpus, strict_stops_at_the_first_malformed_line) {
    corpus_options strict;
    strict.strict = true;
    try {
        parse("{\"text\": \"ok\"}\nnonsense\n", strict);
        FAIL() << "read nonsense";
    } catch (const error & e) {
        EXPECT_NE(std::string(e.what()).find("line 2"), std::string::npos) << e.what();
        EXPECT_NE(std::string(e.what()).find("test.jsonl"), std::string::npos) << e.what();
    }
}

TEST(corpus, nothing_to_read_is_an_error) {
    EXPECT_THROW(parse(""), error);
    EXPECT_THROW(parse("\n\n"), error);
    EXPECT_THROW(parse("{\"other\": 1}"), error);
}

TEST(corpus, byte_order_mark_and_duplicates_are_allowed) {
    const corpus c = parse("\xef\xbb\xbf{\"text\": \"a\"}\n{\"text\": \"a\"}\n");
    EXPECT_EQ(c.samples.size(), 2u);
    EXPECT_TRUE(c.malformed.empty());
}

TEST(corpus, labels_may_be_any_value) {
    corpus_options o;
    o.label_key = "domain";
    const corpus c =
        parse("{\"text\": \"a\", \"domain\": \"code\"}\n{\"text\": \"b\", \"domain\": 7}\n{\"text\": \"c\"}\n", o);
    ASSERT_EQ(c.samples.size(), 3u);
    EXPECT_EQ(c.samples[0].label, "code");
    EXPECT_EQ(c.samples[1].label, "7");
    EXPECT_EQ(c.samples[2].label, "");
}

TEST(corpus, shuffle_is_a_permutation_that_depends_on_the_seed_alone) {
    std::string text;
    for (int i = 0; i < 200; ++i) {
        text += "{\"text\": \"" + std::to_string(i) + "\"}\n";
    }
    const auto order = [&](uint64_t seed, uint64_t limit) {
        corpus_options o;
        o.shuffle      = true;
        o.shuffle_seed = seed;
        o.limit        = limit;
        std::vector<uint64_t> lines;
        for (const sample & s : parse(text, o).samples) {
            lines.push_back(s.line);
        }
        return lines;
    };
    const auto a = order(1, 0);
    EXPECT_EQ(a, order(1, 0));
    EXPECT_NE(a, order(2, 0));
    EXPECT_EQ(std::set<uint64_t>(a.begin(), a.end()).size(), 200u);
    EXPECT_FALSE(std::is_sorted(a.begin(), a.end()));
    const auto first = order(1, 10);
    EXPECT_TRUE(std::equal(first.begin(), first.end(), a.begin()));
    EXPECT_EQ(first.size(), 10u);
}

TEST(logit_rows, samples_evenly_and_always_the_last) {
    const auto count = [](const std::string & text, uint64_t n) {
        const logit_rows rows(text);
        uint64_t         wanted = 0;
        for (uint64_t i = 0; i < n; ++i) {
            wanted += rows.wants(i, n) ? 1 : 0;
        }
        EXPECT_TRUE(n == 0 || rows.wants(n - 1, n));
        return wanted;
    };
    EXPECT_EQ(count("all", 100), 100u);
    EXPECT_EQ(count("requested", 100), 1u);
    EXPECT_EQ(count("sample:10", 100), 10u);
    EXPECT_EQ(count("sample:7", 100), 7u);
    EXPECT_EQ(count("sample:500", 100), 100u);
    EXPECT_THROW(logit_rows("sample:0"), usage_error);
    EXPECT_THROW(logit_rows("sample:x"), usage_error);
    EXPECT_THROW(logit_rows("some"), usage_error);
}

}  // namespace
