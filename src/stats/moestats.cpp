#include "stats/moestats.hpp"

#include <charconv>
#include <cstring>
#include <tuple>

#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "io/hash.hpp"
#include "io/magic.hpp"
#include "io/mapped_file.hpp"
#include "trace/encode.hpp"
#include "trace/format.hpp"

namespace moescope::stats {

namespace {

using json  = nlohmann::ordered_json;
using pairs = std::vector<std::pair<std::string, std::string>>;

constexpr char     magic[8] = {'M', 'O', 'E', 'S', 'T', 'A', 'T', 'S'};
constexpr uint32_t version  = 1;

struct file_head {
    char     magic[8];
    uint32_t version;
    uint32_t text_size;  // of the JSON that follows, padding included
};
static_assert(sizeof(file_head) == 16);

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

json head_to_json(const moestats & s) {
    json corpora = json::array(), blocks = json::array();
    for (const corpus_part & c : s.corpora) {
        corpora.push_back(corpus_to_json(c));
    }
    for (const saliency_block & b : s.blocks) {
        blocks.push_back({{"layer", b.layer},
                          {"block", b.block},
                          {"n_expert", b.n_expert},
                          {"n_expert_used", b.n_expert_used},
                          {"flags", b.flags},
                          {"rows", b.rows}});
    }
    return {{"model", model_to_json(s)},
            {"gate", to_string(s.gate)},
            {"options", pairs_to_json(s.options)},
            {"numerics", numerics_to_json(s.how_computed)},
            {"labels", s.labels},
            {"corpora", corpora},
            {"blocks", blocks}};
}

// Reads arrays out of the mapped file; what would lie beyond its end is damage.
class array_reader {
public:
    array_reader(const std::string & path, const uint8_t * data, size_t size, size_t at)
        : path_(path),
          data_(data),
          size_(size),
          at_(at) {}

    template <class T>
    void read(std::vector<T> & out, size_t n) {
        if (n > (size_ - at_) / sizeof(T)) {
            throw error("the sums are cut").in(path_, static_cast<int64_t>(at_));
        }
        out.resize(n);
        if (n > 0) {  // memcpy from or to null is undefined even for nothing
            std::memcpy(out.data(), data_ + at_, n * sizeof(T));
        }
        at_ += trace::padded(n * sizeof(T), 8);
    }
    bool done() const { return at_ == size_; }

private:
    const std::string & path_;
    const uint8_t *     data_;
    size_t              size_, at_;
};

void read_block(array_reader & r, const json & j, size_t n_labels, saliency_block & b) {
    constexpr uint32_t most_experts = 1u << 20;
    j.at("layer").get_to(b.layer);
    j.at("block").get_to(b.block);
    j.at("n_expert").get_to(b.n_expert);
    j.at("n_expert_used").get_to(b.n_expert_used);
    j.at("flags").get_to(b.flags);
    j.at("rows").get_to(b.rows);
    if (b.n_expert > most_experts) {
        throw error("a block claims " + std::to_string(b.n_expert) + " experts");
    }
    r.read(b.count, b.n_expert);
    r.read(b.gate, b.n_expert);
    r.read(b.gated_norm, b.n_expert);
    r.read(b.norm, b.n_expert);
    r.read(b.max_norm, b.n_expert);
    r.read(b.label_rows, n_labels);
    r.read(b.label_count, n_labels * b.n_expert);
}

void parse(const std::string & path, const uint8_t * data, size_t body, const file_head & head, moestats & s) {
    const auto * text = reinterpret_cast<const char *>(data + sizeof(head));
    const json   j    = json::parse(text, text + head.text_size);
    model_from_json(j.at("model"), s);
    s.gate         = j.at("gate") == "raw" ? gate_kind::raw : gate_kind::final;
    s.options      = pairs_from_json(j.at("options"));
    s.how_computed = numerics_from_json(j.at("numerics"));
    j.at("labels").get_to(s.labels);
    for (const json & c : j.at("corpora")) {
        s.corpora.push_back(corpus_from_json(c));
    }
    array_reader arrays(path, data, body, sizeof(head) + head.text_size);
    for (const json & b : j.at("blocks")) {
        s.blocks.emplace_back();
        read_block(arrays, b, s.labels.size(), s.blocks.back());
    }
    if (!arrays.done()) {
        throw error("there are bytes after the last sum").in(path);
    }
}

moestats decode(const std::string & name, const uint8_t * data, size_t size) {
    file_head head = {};
    if (size >= sizeof(head)) {
        std::memcpy(&head, data, sizeof(head));
    }
    if (std::memcmp(head.magic, magic, sizeof(magic)) != 0) {
        throw error("not a .moestats file").in(name).fix("moescope profile writes them");
    }
    if (head.version != version) {
        throw error("this is version " + std::to_string(head.version) + " of the format, but this moescope reads " +
                    std::to_string(version))
            .in(name)
            .fix("use a newer moescope");
    }
    const size_t body = size - sizeof(uint64_t);
    uint64_t     hash = 0;
    if (size >= sizeof(head) + sizeof(hash)) {
        std::memcpy(&hash, data + body, sizeof(hash));
    }
    if (size < sizeof(head) + sizeof(hash) || head.text_size > body - sizeof(head) ||
        io::hash_bytes(data, body) != hash) {
        throw error("the file is cut or damaged: its hash does not match").in(name);
    }
    moestats s;
    try {
        parse(name, data, body, head, s);
    } catch (const nlohmann::json::exception & e) {
        throw error(std::string("the head is damaged: ") + e.what()).in(name);
    } catch (error & e) {
        throw e.file().empty() ? e.in(name) : e;
    }
    return s;
}

}  // namespace

bool operator==(const numerics & a, const numerics & b) {
    return std::tie(a.n_ubatch, a.n_seq, a.unit) == std::tie(b.n_ubatch, b.n_seq, b.unit);
}

bool operator!=(const numerics & a, const numerics & b) {
    return !(a == b);
}

uint64_t moestats::samples() const {
    uint64_t n = 0;
    for (const corpus_part & c : corpora) {
        n += c.samples;
    }
    return n;
}

uint64_t moestats::tokens() const {
    uint64_t n = 0;
    for (const corpus_part & c : corpora) {
        n += c.tokens;
    }
    return n;
}

bool moestats::complete() const {
    for (const corpus_part & c : corpora) {
        if (!c.complete) {
            return false;
        }
    }
    return true;
}

std::vector<const saliency_block *> moestats::routed() const {
    std::vector<const saliency_block *> list;
    for (const saliency_block & b : blocks) {
        if (b.block == 0) {
            list.push_back(&b);
        }
    }
    return list;
}

std::string encode_moestats(const moestats & s) {
    std::string text = head_to_json(s).dump(-1, ' ', false, json::error_handler_t::replace);
    text.resize(trace::padded(sizeof(file_head) + text.size(), 8) - sizeof(file_head), ' ');
    file_head head = {{}, version, static_cast<uint32_t>(text.size())};
    std::memcpy(head.magic, magic, sizeof(magic));

    trace::encoder out;
    out.value(head);
    out.raw(text.data(), text.size());
    const auto put = [&out](const auto & array) {
        out.raw(array.data(), array.size() * sizeof(array[0]));
        out.pad(8);
    };
    for (const saliency_block & b : s.blocks) {
        put(b.count);
        put(b.gate);
        put(b.gated_norm);
        put(b.norm);
        put(b.max_norm);
        put(b.label_rows);
        put(b.label_count);
    }
    out.value(io::hash_bytes(out.data(), out.size()));
    return {reinterpret_cast<const char *>(out.data()), out.size()};
}

bool is_moestats(const std::string & path) {
    return io::begins_with(path, {magic, sizeof(magic)});
}

moestats read_moestats(const std::string & path) {
    const io::mapped_file file(path);
    return decode(path, file.data(), file.size());
}

moestats decode_moestats(const std::string & bytes, const std::string & name) {
    return decode(name, reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size());
}

}  // namespace moescope::stats
