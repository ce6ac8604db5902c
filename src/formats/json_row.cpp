#include "formats/json_row.hpp"

#include <cmath>

#include <nlohmann/json.hpp>

#include "logs/row_text.hpp"

namespace moescope::formats {

namespace {

void append_known(std::string & out, const char * key, int64_t value) {
    out += key;
    if (value < 0) {
        out += "null";
    } else {
        logs::append_int(out, value);
    }
}

void append_floats(std::string & out, const float * values, size_t n) {
    logs::append_list(out, n, ",", 0, [&](size_t i) {
        if (std::isfinite(values[i])) {
            logs::append_shortest(out, values[i]);
        } else {
            out += "null";
        }
    });
}

// Bytes that are no UTF-8 become U+FFFD.
std::string json_text(const std::string & text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

const char * column_key(column column) {
    switch (column) {
        case column::ids: return "ids";
        case column::weights: return "weights";
        case column::weights_raw: return "weights_raw";
        case column::logits: return "logits";
        case column::probs: return "probs";
        case column::selection: return "selection";
        case column::norms: return "norms";
        case column::gate_input: return "gate_input";
        case column::gram: return "gram";
        case column::runner_up: return "runner_up";
        case column::peaks: return "peaks";
    }
    return "";
}

const std::string & json_rows::text_of(int32_t token) {
    const auto [it, is_new] = texts_.try_emplace(token, "null");
    if (is_new) {
        if (const std::string * piece = token < 0 ? nullptr : source_.piece(token)) {
            it->second = json_text(*piece);
        }
    }
    return it->second;
}

void json_rows::append_request(std::string & out, int64_t request) const {
    append_known(out, ",\"prompt\":", request);
    if (!requests_.labels().empty()) {
        const std::string & label = requests_.label_of(request);
        out += ",\"label\":";
        out += label.empty() ? "null" : json_text(label);
    }
}

void json_rows::append(std::string & out, const routed_ubatch & u, uint64_t ubatch, const block_rows & b,
                       uint32_t row) {
    const int32_t t     = b.token_of(row);
    const auto    known = [&](span<const int32_t> values) { return t < 0 ? -1 : values[static_cast<size_t>(t)]; };
    const size_t  k     = b.layout->n_expert_used;
    if (ubatch != followed_) {
        requests_.follow(u);
        followed_ = ubatch;
    }

    append_known(out, "{\"stream\":", source_.info().stream);
    append_known(out, ",\"batch\":", u.batch);
    append_known(out, ",\"ubatch\":", static_cast<int64_t>(ubatch));
    append_known(out, ",\"time_ns\":", static_cast<int64_t>(u.time_ns));
    append_known(out, ",\"row\":", row);
    append_known(out, ",\"sequence\":", known(u.seq));
    append_known(out, ",\"position\":", known(u.pos));
    out += ",\"phase\":";
    out += t < 0                                                                     ? "null"
           : u.phases[static_cast<size_t>(t)] == static_cast<uint8_t>(phase::decode) ? "\"decode\""
                                                                                     : "\"prefill\"";
    append_request(out, requests_.of(t));
    append_known(out, ",\"token\":", known(u.token));
    out += ",\"text\":";
    out += text_of(known(u.token));
    out += ",\"layer\":";
    logs::append_int(out, b.layout->layer);
    out += ",\"block\":";
    logs::append_int(out, b.layout->block);
    out += ",\"ids\":";
    logs::append_list(out, k, ",", 0, [&](size_t i) { logs::append_int(out, b.id(row * k + i)); });
    for (const column column : float_columns) {
        if (const float * values = b.values_of(column)) {
            const size_t width = b.layout->width(column);
            out += ",\"";
            out += column_key(column);
            out += "\":";
            append_floats(out, values + row * width, width);
        }
    }
    out += '}';
}

}  // namespace moescope::formats
