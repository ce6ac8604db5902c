// What a .moestats says was taken of a corpus: the text in the file, and what follows from it.

#include <gtest/gtest.h>

#include "stats/corpus_selection.hpp"

namespace {

using namespace moescope::stats;

corpus_selection of_fields(corpus_fields fields) {
    corpus_selection s;
    s.fields = std::move(fields);
    return s;
}

TEST(corpus_selection, is_written_as_files_have_it) {
    corpus_selection s = of_fields({"question", "answer", ""});
    EXPECT_EQ(to_string(s), "prompt_key=question response_key=answer label_key= limit=0 shard=0/1");
    s.fields->label = "domain";
    s.limit         = 30;
    s.shuffle_seed  = 7;
    s.shard         = 1;
    s.n_shards      = 4;
    EXPECT_EQ(to_string(s),
              "prompt_key=question response_key=answer label_key=domain limit=30 shuffle_seed=7 shard=1/4");
    EXPECT_EQ(to_string(corpus_selection()), "windows limit=0 shard=0/1");
}

TEST(corpus_selection, is_read_back_as_it_was_written) {
    corpus_selection s = of_fields({"prompt", "response", "domain"});
    EXPECT_EQ(parse_corpus_selection(to_string(s)), s);
    s.limit = UINT64_MAX;
    EXPECT_EQ(parse_corpus_selection(to_string(s)), s);
    s.shuffle_seed = 0;  // not the same as no shuffle
    EXPECT_EQ(parse_corpus_selection(to_string(s)), s);
    s.shard    = 2;
    s.n_shards = 3;
    EXPECT_EQ(parse_corpus_selection(to_string(s)), s);
    s.fields.reset();
    EXPECT_EQ(parse_corpus_selection(to_string(s)), s);
}

TEST(corpus_selection, fields_may_have_any_name) {
    for (const char * name :
         {"", "the prompt", "a=b", "limit=3 shard=1/2", "x shuffle_seed=y", "x limit=", "windows", "ü"}) {
        const corpus_selection s = of_fields({name, name, name});
        EXPECT_EQ(parse_corpus_selection(to_string(s)), s) << name;
    }
}

// A name that holds another one's key is cut elsewhere, and still written back as it was.
TEST(corpus_selection, the_text_stays_the_same_whatever_the_names) {
    const std::string text =
        to_string(of_fields({"a response_key=b", "c label_key=d", "e label_key=f response_key=g"}));
    const auto s = parse_corpus_selection(text);
    ASSERT_TRUE(s.has_value());
    EXPECT_EQ(to_string(*s), text);
}

TEST(corpus_selection, other_texts_are_refused) {
    for (const char * text : {
             "",
             "all",
             "windows",
             "windows limit=0",
             "windows shard=0/1",
             "windows limit=0 shard=0",
             "windows limit=x shard=0/1",
             "windows limit=0 shard=0/1 ",
             "windows limit=0 shard=0/1/2",
             "windows limit=00 shard=0/1",
             "windows limit=-1 shard=0/1",
             "windows limit=99999999999999999999 shard=0/1",
             "windows shuffle_seed=1 limit=0 shard=0/1",
             "limit=0 shard=0/1",
             "prompt_key=a limit=0 shard=0/1",
             "prompt_key=a label_key=c response_key=b limit=0 shard=0/1",
         }) {
        EXPECT_FALSE(parse_corpus_selection(text).has_value()) << text;
    }
}

}  // namespace
