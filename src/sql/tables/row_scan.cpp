#include "sql/tables/row_scan.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "logs/open.hpp"
#include "sql/text.hpp"

namespace moescope::sql {

std::vector<table_column> with_common_columns(std::vector<table_column> own) {
    std::vector<table_column> all = {
        {"run", column_type::text, "which file"},
        {"token_index", column_type::bigint, "the token, counted over the run from 0: joins rows of one token"},
        {"ubatch", column_type::bigint, "counted over the run from 0"},
        {"batch", column_type::bigint, "which llama_decode call of the stream, from 0"},
        {"time_ns", column_type::bigint, "since the run began"},
        {"sequence", column_type::integer, "the token's sequence"},
        {"position", column_type::integer, "the token's position in its sequence"},
        {"phase", column_type::phase, "prefill or decode"},
        {"prompt", column_type::bigint, "its prompt or request, from 0 in the order in which they begin"},
        {"label", column_type::text, "of the prompt"},
        {"token", column_type::integer, "id in the vocabulary"},
        {"text", column_type::text, "of the token"},
        {"layer", column_type::integer, "of the model"},
        {"block", column_type::integer, "0; 1 in the second MoE block of a layer (GroveMoE)"},
    };
    all.insert(all.end(), own.begin(), own.end());
    return all;
}

std::unique_ptr<trace::trace_source> open_rows(const run & r) {
    auto source = logs::open_source(r.path);
    if (source->info().counts_only) {
        throw error("this run holds counts only, no rows").in(r.path).fix("the table 'experts' has its counts");
    }
    return source;
}

bool asks_for(const scan_request & request, size_t a, size_t b) {
    return std::any_of(request.columns.begin(), request.columns.end(),
                       [&](const scan_column & c) { return c.which == a || c.which == b; });
}

row_scan::row_scan(const run & r, scan_request request)
    : run_(r.name),
      request_(std::move(request)),
      source_(open_rows(r)),
      requests_(*source_),
      follows_(asks_for(request_, static_cast<size_t>(row_column::prompt), static_cast<size_t>(row_column::label))) {}

// Whether no row needs a look at its token.
bool row_scan::all_rows() const {
    return request_.bounds.all_phases() && request_.bounds.sequence.all();
}

bool row_scan::wanted(const block_rows & rows, uint32_t row) const {
    const row_bounds & b = request_.bounds;
    const int32_t      t = rows.token_of(row);
    if (t < 0) {
        return b.unknown_phases && b.sequence.all();
    }
    const auto    at       = static_cast<size_t>(t);
    const int32_t sequence = ubatch_.seq[at];
    return b.phases[ubatch_.phases[at] != 0] && (b.sequence.all() || (sequence >= 0 && b.sequence.has(sequence)));
}

// Finds the next rows side by side that are wanted, as piece_. False at the end of the run.
bool row_scan::next_rows() {
    for (;;) {
        for (; block_ < ubatch_.blocks.size(); ++block_, row_ = 0) {
            const block_rows & rows = ubatch_.blocks[block_];
            const size_t       per  = request_.bounds.layer.has(rows.layout->layer) ? per_row(rows) : 0;
            if (per == 0) {
                continue;
            }
            uint32_t first = row_;
            uint32_t last  = rows.n_rows;
            if (!all_rows()) {
                while (first < rows.n_rows && !wanted(rows, first)) {
                    ++first;
                }
                last = first;
                while (last < rows.n_rows && wanted(rows, last)) {
                    ++last;
                }
            }
            row_ = last;
            if (first < last) {
                piece_ = {&ubatch_, &rows, per, first * per, last * per};
                return true;
            }
        }
        first_token_ += ubatch_.n_tokens();
        if (!source_->next(ubatch_)) {
            ubatch_ = {};
            return false;
        }
        if (follows_) {
            requests_.follow(ubatch_);
        }
        n_ubatches_ += 1;
        block_ = 0;
        row_   = 0;
    }
}

uint64_t row_scan::fill(duckdb_data_chunk out) {
    std::vector<out_column> columns  = vectors_of(out, request_);
    const size_t            capacity = duckdb().vector_size();
    size_t                  n        = 0;
    while (n < capacity && (piece_.size() > 0 || next_rows())) {
        row_piece part = piece_;
        part.end       = std::min(part.end, part.begin + (capacity - n));
        for (size_t c = 0; c < columns.size(); ++c) {
            const size_t which = request_.columns[c].which;
            if (which < n_common) {
                write_common(static_cast<row_column>(which), part, columns[c], n);
            } else {
                write(which - n_common, part, columns[c], n);
            }
        }
        piece_.begin = part.end;
        n += part.size();
    }
    return n;
}

void row_scan::write_common(row_column column, const row_piece & piece, out_column & to, size_t at) {
    const routed_ubatch & u    = *piece.ubatch;
    const auto            fill = [&](auto value) { std::fill_n(to.data<decltype(value)>() + at, piece.size(), value); };
    switch (column) {
        case row_column::run:
            if (at == 0) {
                to.set_constant(run_);
            }
            break;
        case row_column::ubatch: fill(static_cast<int64_t>(n_ubatches_ - 1)); break;
        case row_column::batch: fill(static_cast<int64_t>(u.batch)); break;
        case row_column::time_ns: fill(static_cast<int64_t>(u.time_ns)); break;
        case row_column::layer: fill(static_cast<int32_t>(piece.rows->layout->layer)); break;
        case row_column::block: fill(static_cast<int32_t>(piece.rows->layout->block)); break;
        default: write_token(column, piece, to, at);
    }
}

// Columns that follow from the row's token; null where it, or what is asked of it, is not known.
void row_scan::write_token(row_column column, const row_piece & piece, out_column & to, size_t at) {
    const routed_ubatch & u       = *piece.ubatch;
    const auto            numbers = [&](auto & values) {
        piece.each_row([&](uint32_t row, size_t place, size_t n) {
            const int32_t t     = piece.rows->token_of(row);
            const int32_t value = t < 0 ? -1 : values[static_cast<size_t>(t)];
            if (value < 0) {
                to.set_null(at + place, n);
            }
            std::fill_n(to.data<int32_t>() + at + place, n, value);
        });
    };
    switch (column) {
        case row_column::sequence: numbers(u.seq); break;
        case row_column::position: numbers(u.pos); break;
        case row_column::token: numbers(u.token); break;
        case row_column::token_index:
            piece.each_row([&](uint32_t row, size_t place, size_t n) {
                const int32_t t = piece.rows->token_of(row);
                if (t < 0) {
                    to.set_null(at + place, n);
                }
                std::fill_n(to.data<int64_t>() + at + place, n, static_cast<int64_t>(first_token_) + t);
            });
            break;
        case row_column::prompt:
            piece.each_row([&](uint32_t row, size_t place, size_t n) {
                const int64_t request = requests_.of(piece.rows->token_of(row));
                if (request < 0) {
                    to.set_null(at + place, n);
                }
                std::fill_n(to.data<int64_t>() + at + place, n, request);
            });
            break;
        case row_column::label: write_label(piece, to, at); break;
        case row_column::phase:
            piece.each_row([&](uint32_t row, size_t place, size_t n) {
                const int32_t t = piece.rows->token_of(row);
                if (t < 0) {
                    to.set_null(at + place, n);
                }
                std::fill_n(to.data<uint8_t>() + at + place, n, t < 0 ? 0 : u.phases[static_cast<size_t>(t)]);
            });
            break;
        default:
            piece.each_row([&](uint32_t row, size_t place, size_t n) {
                const int32_t       t    = piece.rows->token_of(row);
                const std::string * text = t < 0 ? nullptr : text_of(u.token[static_cast<size_t>(t)]);
                for (size_t i = at + place; i < at + place + n; ++i) {
                    text == nullptr ? to.set_null(i) : to.set_text(i, *text);
                }
            });
    }
}

void row_scan::write_label(const row_piece & piece, out_column & to, size_t at) const {
    piece.each_row([&](uint32_t row, size_t place, size_t n) {
        const std::string & label = requests_.label_of(requests_.of(piece.rows->token_of(row)));
        for (size_t i = at + place; i < at + place + n; ++i) {
            label.empty() ? to.set_null(i) : to.set_text(i, valid_utf8(label));
        }
    });
}

const std::string * row_scan::text_of(int32_t token) {
    const std::string * piece = token < 0 ? nullptr : source_->piece(token);
    if (piece == nullptr) {
        return nullptr;
    }
    const auto [it, is_new] = texts_.try_emplace(token);
    if (is_new) {
        it->second = valid_utf8(*piece);
    }
    return &it->second;
}

}  // namespace moescope::sql
