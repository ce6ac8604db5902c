#include "stats/corpus_selection.hpp"

#include <charconv>
#include <tuple>

namespace moescope::stats {

namespace {

// Cuts the last " NAME=VALUE" off a text and returns the value; nothing, and the text as it was, where there is none.
std::optional<std::string> take_last(std::string & text, const std::string & name) {
    const std::string begin = " " + name + "=";
    const size_t      at    = text.rfind(begin);
    if (at == std::string::npos) {
        return std::nullopt;
    }
    std::string value = text.substr(at + begin.size());
    text.resize(at);
    return value;
}

// The same of a number, which must be the last word: the name of a field may look like one.
std::optional<std::string> take_last_word(std::string & text, const std::string & name) {
    std::string before = text;
    auto        value  = take_last(before, name);
    if (!value || value->find(' ') != std::string::npos) {
        return std::nullopt;
    }
    text = before;
    return value;
}

uint64_t to_number(const std::string & text) {
    uint64_t n = 0;
    std::from_chars(text.data(), text.data() + text.size(), n);  // who calls compares with what to_string writes
    return n;
}

std::optional<corpus_fields> parse_fields(std::string text) {
    corpus_fields     fields;
    const std::string begin = "prompt_key=";
    const auto        label = take_last(text, "label_key"), response = take_last(text, "response_key");
    if (!label || !response || text.rfind(begin, 0) != 0) {
        return std::nullopt;
    }
    return corpus_fields{text.substr(begin.size()), *response, *label};
}

}  // namespace

bool operator==(const corpus_fields & a, const corpus_fields & b) {
    return std::tie(a.prompt, a.response, a.label) == std::tie(b.prompt, b.response, b.label);
}

bool operator==(const corpus_selection & a, const corpus_selection & b) {
    return std::tie(a.fields, a.limit, a.shuffle_seed, a.shard, a.n_shards) ==
           std::tie(b.fields, b.limit, b.shuffle_seed, b.shard, b.n_shards);
}

bool may_overlap(const corpus_selection & a, const corpus_selection & b) {
    const bool same_text =
        a.fields.has_value() == b.fields.has_value() &&
        (!a.fields || (a.fields->prompt == b.fields->prompt && a.fields->response == b.fields->response));
    corpus_selection shard_of_b  = a;
    shard_of_b.shard             = b.shard;
    const bool shards_of_one_run = shard_of_b == b && a.shard != b.shard;
    return same_text && !shards_of_one_run;
}

std::string to_string(const corpus_selection & s) {
    std::string text = s.fields ? "prompt_key=" + s.fields->prompt + " response_key=" + s.fields->response +
                                      " label_key=" + s.fields->label
                                : "windows";
    text += " limit=" + std::to_string(s.limit);
    if (s.shuffle_seed) {
        text += " shuffle_seed=" + std::to_string(*s.shuffle_seed);
    }
    return text + " shard=" + std::to_string(s.shard) + "/" + std::to_string(s.n_shards);
}

std::optional<corpus_selection> parse_corpus_selection(const std::string & text) {
    std::string      rest = text;
    corpus_selection s;
    const auto       shard = take_last_word(rest, "shard"), seed = take_last_word(rest, "shuffle_seed"),
               limit = take_last_word(rest, "limit");
    if (!shard || !limit || shard->find('/') == std::string::npos) {
        return std::nullopt;
    }
    s.shard    = to_number(*shard);
    s.n_shards = to_number(shard->substr(shard->find('/') + 1));
    s.limit    = to_number(*limit);
    if (seed) {
        s.shuffle_seed = to_number(*seed);
    }
    if (rest != "windows") {
        s.fields = parse_fields(rest);
    }
    return to_string(s) == text ? std::optional(s) : std::nullopt;
}

}  // namespace moescope::stats
