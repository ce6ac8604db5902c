#include "stats/moestats_head.hpp"

#include <charconv>

#include "core/error.hpp"

namespace moescope::stats {

namespace {

using json  = nlohmann::ordered_json;
using pairs = std::vector<std::pair<std::string, std::string>>;

json pairs_to_json(const pairs & list) {
    json j = json::object();
    for (const auto & [key, value] : list) {
        j[key] = value;
    }
    return j;
}

pairs pairs_from_json(const json & j) {
    pairs list;
    for (const auto & [key, value] : j.items()) {
        list.emplace_back(key, value.get<std::string>());
    }
    return list;
}

json model_to_json(const moestats & s) {
    const model_info & m = s.model;
    return {{"architecture", m.architecture},
            {"name", m.name},
            {"file", m.file},
            {"file_size", m.file_size},
            {"fingerprint", s.model_fingerprint},
            {"shapes", s.shape_fingerprint},
            {"n_layer", m.n_layer},
            {"n_expert", m.n_expert},
            {"n_expert_used", m.n_expert_used},
            {"n_embd", m.n_embd},
            {"n_vocab", m.n_vocab}};
}

void model_from_json(const json & j, moestats & s) {
    model_info & m = s.model;
    j.at("architecture").get_to(m.architecture);
    j.at("name").get_to(m.name);
    j.at("file").get_to(m.file);
    j.at("file_size").get_to(m.file_size);
    j.at("fingerprint").get_to(s.model_fingerprint);
    s.shape_fingerprint = j.value("shapes", uint64_t{0});
    j.at("n_layer").get_to(m.n_layer);
    j.at("n_expert").get_to(m.n_expert);
    j.at("n_expert_used").get_to(m.n_expert_used);
    j.at("n_embd").get_to(m.n_embd);
    j.at("n_vocab").get_to(m.n_vocab);
}

// Numbers of this struct are texts in the file.
json numerics_to_json(const numerics & n) {
    return {{"ubatch", std::to_string(n.n_ubatch)},
            {"sequences", std::to_string(n.n_seq)},
            {"unit", std::to_string(n.unit)}};
}

uint32_t number_from_text(const json & j) {
    const auto text = j.get<std::string>();
    uint32_t   n    = 0;
    const auto r    = std::from_chars(text.data(), text.data() + text.size(), n);
    if (r.ec != std::errc() || r.ptr != text.data() + text.size()) {
        throw error("the head is damaged: '" + text + "' is not a number");
    }
    return n;
}

numerics numerics_from_json(const json & j) {
    return {number_from_text(j.at("ubatch")), number_from_text(j.at("sequences")), number_from_text(j.at("unit"))};
}

corpus_selection selection_from_json(const json & j) {
    const auto text = j.get<std::string>();
    if (const auto s = parse_corpus_selection(text)) {
        return *s;
    }
    throw error("the head is damaged: '" + text + "' does not say which part of a corpus was taken");
}

json corpus_to_json(const corpus_part & c) {
    return {{"name", c.name},           {"bytes", c.bytes},
            {"hash", c.hash},           {"selection", to_string(c.selection)},
            {"samples", c.samples},     {"tokens", c.tokens},
            {"truncated", c.truncated}, {"empty", c.empty},
            {"malformed", c.malformed}, {"failed", c.failed},
            {"next_unit", c.next_unit}, {"next_group", c.next_group},
            {"complete", c.complete}};
}

corpus_part corpus_from_json(const json & j) {
    corpus_part c;
    j.at("name").get_to(c.name);
    j.at("bytes").get_to(c.bytes);
    j.at("hash").get_to(c.hash);
    c.selection = selection_from_json(j.at("selection"));
    j.at("samples").get_to(c.samples);
    j.at("tokens").get_to(c.tokens);
    j.at("truncated").get_to(c.truncated);
    j.at("empty").get_to(c.empty);
    j.at("malformed").get_to(c.malformed);
    j.at("failed").get_to(c.failed);
    j.at("next_unit").get_to(c.next_unit);
    j.at("next_group").get_to(c.next_group);
    j.at("complete").get_to(c.complete);
    return c;
}

}  // namespace

json head_to_json(const moestats & s) {
    json corpora = json::array();
    for (const corpus_part & c : s.corpora) {
        corpora.push_back(corpus_to_json(c));
    }
    return {{"model", model_to_json(s)},
            {"gate", to_string(s.gate)},
            {"options", pairs_to_json(s.options)},
            {"numerics", numerics_to_json(s.how_computed)},
            {"labels", s.labels},
            {"corpora", corpora}};
}

void head_from_json(const json & j, moestats & s) {
    model_from_json(j.at("model"), s);
    s.gate         = j.at("gate") == "raw" ? gate_kind::raw : gate_kind::final;
    s.options      = pairs_from_json(j.at("options"));
    s.how_computed = numerics_from_json(j.at("numerics"));
    j.at("labels").get_to(s.labels);
    for (const json & c : j.at("corpora")) {
        s.corpora.push_back(corpus_from_json(c));
    }
}

}  // namespace moescope::stats
