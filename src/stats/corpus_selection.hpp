#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace moescope::stats {

// The fields of a JSONL line that a sample is made of (infer::corpus_options says how).
struct corpus_fields {
    std::string prompt, response;
    std::string label;  // empty: no labels
};
bool operator==(const corpus_fields & a, const corpus_fields & b);

// What of a corpus file goes into a profile, and as what text: other text gives other rows.
struct corpus_selection {
    std::optional<corpus_fields> fields;     // without: a plain text, cut into windows of the context's length
    uint64_t                     limit = 0;  // samples at most; 0: all
    std::optional<uint64_t>      shuffle_seed;
    uint64_t                     shard    = 0;  // of n_shards
    uint64_t                     n_shards = 1;
};
bool operator==(const corpus_selection & a, const corpus_selection & b);

// Whether samples of one file may be in both. A limit, a shuffle and another number of shards take other samples, but not
// surely others than the part they are held against: only other texts, and the shards of one run, share nothing.
bool may_overlap(const corpus_selection & a, const corpus_selection & b);

// "prompt_key=question response_key=answer label_key= limit=0 shuffle_seed=3 shard=0/2", or "windows limit=0 shard=0/1": how
// a .moestats says it.
std::string to_string(const corpus_selection & s);
// Nothing for a text that to_string does not write.
std::optional<corpus_selection> parse_corpus_selection(const std::string & text);

}  // namespace moescope::stats
