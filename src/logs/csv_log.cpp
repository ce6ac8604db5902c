#include "logs/csv_log.hpp"

#include "logs/row_text.hpp"

namespace moescope::logs {

void append_csv_row(std::string & out, const routed_ubatch & u, const block_rows & b, uint32_t row) {
    const size_t k = b.layout->n_expert_used;
    append_int(out, b.layout->layer);
    out += ',';
    append_int(out, position_of(u, b, row));
    out += ",\"";
    append_list(out, k, " ", 0, [&](size_t i) { append_int(out, b.id(row * k + i)); });
    out += "\",\"";
    const float * weights = b.values_of(column::weights);
    append_list(out, weights ? k : 0, " ", 0, [&](size_t i) { append_shortest(out, weights[row * k + i]); });
    out += '"';
}

size_t append_csv_rows(std::string & out, const routed_ubatch & u) {
    size_t left_out = 0;
    for (const block_rows & b : u.blocks) {
        if (b.layout->block != 0) {
            left_out += b.n_rows;
            continue;
        }
        for (uint32_t r = 0; r < b.n_rows; ++r) {
            append_csv_row(out, u, b, r);
            out += '\n';
        }
    }
    return left_out;
}

csv_log::csv_log(std::unique_ptr<io::byte_sink> out) : out_(std::move(out)) {
    out_->write(csv_log_header, sizeof(csv_log_header) - 1);
}

void csv_log::ubatch(const routed_ubatch & u) {
    text_.clear();
    append_csv_rows(text_, u);
    out_->write(text_.data(), text_.size());
}

}  // namespace moescope::logs
