#include "stats/moestats.hpp"

#include <algorithm>
#include <cstring>
#include <tuple>

#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "io/hash.hpp"
#include "io/magic.hpp"
#include "io/mapped_file.hpp"
#include "stats/moestats_head.hpp"
#include "trace/encode.hpp"
#include "trace/format.hpp"

namespace moescope::stats {

namespace {

using json = nlohmann::ordered_json;

constexpr char     magic[8] = {'M', 'O', 'E', 'S', 'T', 'A', 'T', 'S'};
constexpr uint32_t version  = 2;  // 1: sums of gates and norms alone

struct file_head {
    char     magic[8];
    uint32_t version;
    uint32_t text_size;  // of the JSON that follows, padding included
};
static_assert(sizeof(file_head) == 16);

// The arrays of a block behind those of version 1: their names, and where they are.
struct named_sum {
    const char *        name;
    std::vector<double> expert_sums::*sum;
};
constexpr named_sum sums_of_version_2[] = {
    {"norm_squared", &expert_sums::norm_squared},
    {"gated_squared", &expert_sums::gated_squared},
    {"easy_ep", &expert_sums::easy_ep},
    {"removal", &expert_sums::removal},
};

json names_of_sums(const saliency_block & b) {
    json names = json::array();
    for (const named_sum & s : sums_of_version_2) {
        if (!(b.*s.sum).empty()) {
            names.push_back(s.name);
        }
    }
    if (!b.peak.empty()) {
        names.push_back("peak");
    }
    if (!b.norm_squared.empty()) {
        names.push_back("pairs");
    }
    return names;
}

json block_to_json(const saliency_block & b) {
    return {{"layer", b.layer}, {"block", b.block}, {"n_expert", b.n_expert},  {"n_expert_used", b.n_expert_used},
            {"flags", b.flags}, {"rows", b.rows},   {"sums", names_of_sums(b)}};
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

// Behind the arrays of version 1, those that the head names, and then the same sums by label.
void read_sums(array_reader & r, const json & names, size_t n_labels, saliency_block & b) {
    const auto has = [&](const char * name) { return std::find(names.begin(), names.end(), name) != names.end(); };
    for (const named_sum & s : sums_of_version_2) {
        r.read(b.*s.sum, has(s.name) ? b.n_expert : 0);
    }
    r.read(b.peak, has("peak") ? b.n_expert : 0);
    r.read(b.pair_count, has("pairs") ? n_pairs(b.n_expert) : 0);
    r.read(b.pair_product, has("pairs") ? n_pairs(b.n_expert) : 0);
    for (const auto sum : all_expert_sums) {
        r.read(b.label_sums.*sum, b.norm_squared.empty() ? 0 : n_labels * (b.*sum).size());
    }
}

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
    if (j.contains("sums")) {
        read_sums(r, j.at("sums"), n_labels, b);
    }
}

void parse(const std::string & path, const uint8_t * data, size_t body, const file_head & head, moestats & s) {
    const auto * text = reinterpret_cast<const char *>(data + sizeof(head));
    const json   j    = json::parse(text, text + head.text_size);
    head_from_json(j, s);
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
    if (head.version == 0 || head.version > version) {
        throw error("this is version " + std::to_string(head.version) +
                    " of the format, but this moescope reads 1 to " + std::to_string(version))
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
    json head_json      = head_to_json(s);
    head_json["blocks"] = json::array();
    for (const saliency_block & b : s.blocks) {
        head_json["blocks"].push_back(block_to_json(b));
    }
    std::string text = head_json.dump(-1, ' ', false, json::error_handler_t::replace);
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
        for (const named_sum & sum : sums_of_version_2) {
            put(b.*sum.sum);
        }
        put(b.peak);
        put(b.pair_count);
        put(b.pair_product);
        for (const auto sum : all_expert_sums) {
            put(b.label_sums.*sum);
        }
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
