// The .moeval file: eight bytes that name it, and one CBOR document. Sums are byte strings of little-endian doubles, so that they read back exactly.

#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>

#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "evaluate/evaluation.hpp"
#include "evaluate/plain_cbor.hpp"
#include "io/magic.hpp"

namespace moescope::evaluate {

namespace {

using json = nlohmann::json;

constexpr char     magic[]        = "MOEEVAL\n";
constexpr size_t   magic_size     = sizeof(magic) - 1;
constexpr uint32_t format_version = 1;

json sums_to_json(const std::vector<std::vector<damage_sums>> & rows) {
    json list = json::array();
    for (const std::vector<damage_sums> & row : rows) {
        std::vector<uint8_t> bytes(row.size() * sizeof(double) * damage_sums::n);
        for (size_t i = 0; i < row.size(); ++i) {
            const auto values = row[i].values();
            std::memcpy(&bytes[i * sizeof(values)], values.data(), sizeof(values));
        }
        list.push_back(json::binary(std::move(bytes)));
    }
    return list;
}

// Rows of n each.
std::vector<std::vector<damage_sums>> sums_from_json(const json & list, size_t n) {
    std::vector<std::vector<damage_sums>> rows;
    for (const json & entry : list) {
        const json::binary_t &   bytes = entry.get_binary();
        std::vector<damage_sums> row(n);
        if (bytes.size() != n * sizeof(double) * damage_sums::n) {
            throw error("its sums are not as many as it says");
        }
        for (size_t i = 0; i < n; ++i) {
            std::array<double, damage_sums::n> values;
            std::memcpy(values.data(), &bytes[i * sizeof(values)], sizeof(values));
            row[i] = damage_sums::of(values);
        }
        rows.push_back(std::move(row));
    }
    return rows;
}

json to_json(const plan & p) {
    return {{"kind", to_string(p.kind)}, {"name", p.name},
            {"criterion", p.criterion},  {"n_keep", p.n_keep},
            {"layer", p.layer},          {"expert", p.expert},
            {"mask", p.mask.to_text()},  {"omitted_share", p.omitted_share}};
}

plan plan_from_json(const json & j) {
    plan p;
    p.kind          = parse_plan_kind(j.at("kind").get<std::string>());
    p.name          = j.at("name").get<std::string>();
    p.criterion     = j.at("criterion").get<std::string>();
    p.n_keep        = j.at("n_keep").get<int32_t>();
    p.layer         = j.at("layer").get<int32_t>();
    p.expert        = j.at("expert").get<int32_t>();
    p.omitted_share = j.at("omitted_share").get<double>();
    const auto mask = j.at("mask").get<std::string>();
    p.mask          = mask.empty() ? expert_mask() : parse_expert_mask(mask);
    return p;
}

json to_json(const model_info & m) {
    return {{"architecture", m.architecture},   {"name", m.name},       {"file", m.file},
            {"file_size", m.file_size},         {"n_layer", m.n_layer}, {"n_expert", m.n_expert},
            {"n_expert_used", m.n_expert_used}, {"n_embd", m.n_embd},   {"n_vocab", m.n_vocab}};
}

model_info model_from_json(const json & j) {
    model_info m;
    m.architecture  = j.at("architecture").get<std::string>();
    m.name          = j.at("name").get<std::string>();
    m.file          = j.at("file").get<std::string>();
    m.file_size     = j.at("file_size").get<uint64_t>();
    m.n_layer       = j.at("n_layer").get<uint32_t>();
    m.n_expert      = j.at("n_expert").get<uint32_t>();
    m.n_expert_used = j.at("n_expert_used").get<uint32_t>();
    m.n_embd        = j.at("n_embd").get<uint32_t>();
    m.n_vocab       = j.at("n_vocab").get<uint32_t>();
    return m;
}

void check(const evaluation & e) {
    bool fits = e.sums.size() == e.plans.size() && !e.plans.empty() && e.group_plans.size() <= e.plans.size() &&
                !e.labels.empty() && e.label_samples.size() == e.labels.size() && !e.shards.empty();
    for (const uint32_t l : e.unit_label) {
        fits = fits && l < e.labels.size();
    }
    if (!fits) {
        throw error("its parts do not fit together");
    }
}

evaluation from_json(const json & j) {
    evaluation e;
    e.model          = model_from_json(j.at("model"));
    e.identity       = j.at("identity").get<decltype(e.identity)>();
    e.labels         = j.at("labels").get<std::vector<std::string>>();
    e.unit_label     = j.at("unit_label").get<std::vector<uint32_t>>();
    e.corpus         = j.at("corpus").get<std::string>();
    e.corpus_samples = j.at("corpus_samples").get<uint64_t>();
    e.malformed      = j.at("malformed").get<uint64_t>();
    e.empty          = j.at("empty").get<uint64_t>();
    e.shards         = j.at("shards").get<std::vector<uint64_t>>();
    e.n_shards       = j.at("n_shards").get<uint64_t>();
    e.samples        = j.at("samples").get<uint64_t>();
    e.tokens         = j.at("tokens").get<uint64_t>();
    e.truncated      = j.at("truncated").get<uint64_t>();
    e.failed         = j.at("failed").get<std::vector<uint64_t>>();
    e.label_samples  = j.at("label_samples").get<std::vector<uint64_t>>();
    e.next_unit      = j.at("next_unit").get<uint64_t>();
    e.next_group     = j.at("next_group").get<uint64_t>();
    e.complete       = j.at("complete").get<bool>();
    e.group          = j.at("group").get<std::vector<uint32_t>>();
    for (const json & p : j.at("plans")) {
        e.plans.push_back(plan_from_json(p));
    }
    e.sums        = sums_from_json(j.at("sums"), e.unit_label.size());
    e.group_plans = sums_from_json(j.at("group_plans"), e.group.size());
    check(e);
    return e;
}

json parse(const std::string & bytes, const std::string & name) {
    if (bytes.compare(0, magic_size, magic) != 0) {
        throw error("this is no evaluation (.moeval)").in(name);
    }
    if (!is_plain_cbor(std::string_view(bytes).substr(magic_size))) {
        throw error("the evaluation is damaged").in(name);
    }
    json j = json::from_cbor(bytes.begin() + magic_size, bytes.end(), true, false);
    if (!j.is_object() || !j.contains("version")) {
        throw error("the evaluation is damaged").in(name);
    }
    if (j["version"] != format_version) {
        throw error("this evaluation was written by a newer moescope").in(name);
    }
    return j;
}

}  // namespace

std::string encode_moeval(const evaluation & e) {
    json plans = json::array();
    for (const plan & p : e.plans) {
        plans.push_back(to_json(p));
    }
    const json  j     = {{"version", format_version},
                         {"model", to_json(e.model)},
                         {"identity", e.identity},
                         {"plans", std::move(plans)},
                         {"labels", e.labels},
                         {"unit_label", e.unit_label},
                         {"corpus", e.corpus},
                         {"corpus_samples", e.corpus_samples},
                         {"malformed", e.malformed},
                         {"empty", e.empty},
                         {"shards", e.shards},
                         {"n_shards", e.n_shards},
                         {"samples", e.samples},
                         {"tokens", e.tokens},
                         {"truncated", e.truncated},
                         {"failed", e.failed},
                         {"label_samples", e.label_samples},
                         {"sums", sums_to_json(e.sums)},
                         {"next_unit", e.next_unit},
                         {"next_group", e.next_group},
                         {"complete", e.complete},
                         {"group", e.group},
                         {"group_plans", sums_to_json(e.group_plans)}};
    std::string bytes = magic;
    json::to_cbor(j, bytes);
    return bytes;
}

evaluation decode_moeval(const std::string & bytes, const std::string & name) {
    const json j = parse(bytes, name);
    try {
        return from_json(j);
    } catch (const json::exception &) {
        throw error("the evaluation is damaged").in(name);
    } catch (const error & e) {
        throw error("the evaluation is damaged: " + e.reason()).in(name);
    }
}

evaluation read_moeval(const std::string & path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) {
        throw error("cannot open").in(path);
    }
    return decode_moeval({std::istreambuf_iterator<char>(in), {}}, path);
}

bool is_moeval(const std::string & path) {
    return io::begins_with(path, magic);
}

}  // namespace moescope::evaluate
