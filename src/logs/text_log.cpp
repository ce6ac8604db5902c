#include "logs/text_log.hpp"

#include "logs/row_text.hpp"

namespace moescope::logs {

namespace {

constexpr int decimals = 3;

void append_escaped(std::string & out, const std::string & text) {
    static constexpr char hex[] = "0123456789abcdef";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '\n') {
            out += "\\n";
        } else if (c == '\r') {
            out += "\\r";
        } else if (c == '\t') {
            out += "\\t";
        } else if (byte < 0x20 || byte == 0x7f) {
            out += "\\x";
            out += hex[byte >> 4];
            out += hex[byte & 15];
        } else {
            out += c;
        }
    }
}

void append_layer(std::string & out, const block_layout & l) {
    out += "Layer ";
    append_int(out, l.layer);
    if (l.block != 0) {
        out += " block ";
        append_int(out, l.block);
    }
    out += " - ";
}

void append_token(std::string & out, const routed_ubatch & u, const block_rows & b, uint32_t row) {
    const int32_t pos = position_of(u, b, row);
    const int32_t t   = b.token_of(row);
    const int32_t seq = t < 0 ? -1 : u.seq[static_cast<size_t>(t)];
    out += "  Token ";
    if (pos < 0) {
        out += '?';
    } else {
        append_int(out, pos);
    }
    if (seq > 0) {
        out += " (sequence ";
        append_int(out, seq);
        out += ')';
    }
    out += ": ";
}

}  // namespace

void text_log_format::banner(std::string & out) const {
    out += "=== MoE Expert Selection Log ===\n";
}

void text_log_format::prompt(std::string & out, const std::string & text, size_t n_tokens) const {
    out += "Prompt: ";
    append_escaped(out, text);
    out += "\nTokens: ";
    append_int(out, static_cast<int64_t>(n_tokens));
    out += "\n\n";
}

void text_log_format::ubatch(std::string & out, const routed_ubatch & u) const {
    for (const block_rows & b : u.blocks) {
        if (b.n_rows > 0) {
            block(out, u, b);
        }
    }
}

void text_log_format::block(std::string & out, const routed_ubatch & u, const block_rows & b) const {
    const size_t k = b.layout->n_expert_used;
    scores(out, u, b, column::logits, "Raw Logits");
    scores(out, u, b, column::probs, "Router Probabilities");

    append_layer(out, *b.layout);
    out += "Selected Expert IDs (top-";
    append_int(out, static_cast<int64_t>(k));
    out += "):\n";
    for (uint32_t r = 0; r < b.n_rows; ++r) {
        append_token(out, u, b, r);
        append_list(out, k, ", ", max_columns_, [&](size_t i) { append_int(out, b.id(r * k + i)); });
        out += '\n';
    }
    if (const float * weights = b.values_of(column::weights)) {
        append_layer(out, *b.layout);
        out += "Expert Routing Weights:\n";
        for (uint32_t r = 0; r < b.n_rows; ++r) {
            const float * row = weights + r * k;
            double        sum = 0;
            for (size_t i = 0; i < k; ++i) {
                sum += row[i];
            }
            append_token(out, u, b, r);
            append_list(out, k, ", ", max_columns_, [&](size_t i) { append_fixed(out, row[i], decimals); });
            out += " (sum=";
            append_fixed(out, sum, decimals);
            out += ")\n";
        }
    }
    out += '\n';
}

void text_log_format::scores(std::string & out, const routed_ubatch & u, const block_rows & b, column column,
                             const char * title) const {
    const float * values = b.values_of(column);
    if (values == nullptr) {
        return;
    }
    const size_t n = b.layout->n_expert;
    append_layer(out, *b.layout);
    out += title;
    out += ":\n  n_experts=";
    append_int(out, static_cast<int64_t>(n));
    out += ", n_tokens=";
    append_int(out, b.n_rows);
    out += '\n';
    for (uint32_t r = 0; r < b.n_rows; ++r) {
        append_token(out, u, b, r);
        append_list(out, n, ", ", max_columns_, [&](size_t i) { append_fixed(out, values[r * n + i], decimals); });
        out += '\n';
    }
}

void text_log_format::end(std::string & out) const {
    out += "=== Inference Complete ===\n";
}

text_log::text_log(std::unique_ptr<io::byte_sink> out, size_t max_columns)
    : out_(std::move(out)),
      format_(max_columns) {
    format_.banner(text_);
    write();
}

void text_log::prompt(const std::string & text, size_t n_tokens) {
    format_.prompt(text_, text, n_tokens);
    write();
}

void text_log::ubatch(const routed_ubatch & u) {
    format_.ubatch(text_, u);
    write();
}

void text_log::finish() {
    format_.end(text_);
    write();
}

void text_log::write() {
    out_->write(text_.data(), text_.size());
    text_.clear();
}

}  // namespace moescope::logs
