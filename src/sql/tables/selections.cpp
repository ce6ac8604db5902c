// selections: one row per token, layer and rank. rows: one per token and layer. scores: one per token, layer and expert.

#include <algorithm>

#include "sql/tables/grouped_scan.hpp"
#include "sql/tables/row_scan.hpp"
#include "sql/tables/tables.hpp"

namespace moescope::sql {

namespace {

// Copies entries of a captured column; null where the block has none.
void write_values(const row_piece & piece, column which, out_column & to, size_t at) {
    const float * values = piece.rows->values_of(which);
    if (values == nullptr) {
        to.set_null(at, piece.size());
        return;
    }
    std::copy_n(values + piece.begin, piece.size(), to.data<float>() + at);
}

class selections_scan final : public row_scan {
public:
    using row_scan::row_scan;
    enum own : size_t { rank, expert, weight, weight_raw, norm };

private:
    size_t per_row(const block_rows & rows) const override {
        return rows.layout->columns.has(column::ids) ? rows.layout->n_expert_used : 0;
    }
    void write(size_t column, const row_piece & piece, out_column & to, size_t at) override {
        switch (column) {
            case rank:
                piece.each_row([&](uint32_t row, size_t place, size_t n) {
                    const size_t first = piece.begin + place - row * piece.per_row;
                    for (size_t i = 0; i < n; ++i) {
                        to.data<int32_t>()[at + place + i] = static_cast<int32_t>(first + i);
                    }
                });
                break;
            case expert:
                piece.rows->visit_ids(
                    [&](auto * ids) { std::copy_n(ids + piece.begin, piece.size(), to.data<int32_t>() + at); });
                break;
            case weight: write_values(piece, column::weights, to, at); break;
            case weight_raw: write_values(piece, column::weights_raw, to, at); break;
            default: write_values(piece, column::norms, to, at);
        }
    }
};

class scores_scan final : public row_scan {
public:
    using row_scan::row_scan;

private:
    enum own : size_t { expert, logit, prob, selection };

    size_t per_row(const block_rows & rows) const override {
        const column_set scores = column::logits | column::probs | column::selection;
        return (rows.layout->columns & scores).bits() != 0 ? rows.layout->n_expert : 0;
    }
    void write(size_t column, const row_piece & piece, out_column & to, size_t at) override {
        switch (column) {
            case expert:
                for (size_t i = 0; i < piece.size(); ++i) {
                    to.data<int32_t>()[at + i] = static_cast<int32_t>((piece.begin + i) % piece.per_row);
                }
                break;
            case logit: write_values(piece, column::logits, to, at); break;
            case prob: write_values(piece, column::probs, to, at); break;
            default: write_values(piece, column::selection, to, at);
        }
    }
};

class rows_scan final : public row_scan {
public:
    using row_scan::row_scan;

private:
    size_t per_row(const block_rows &) const override { return 1; }
    void   write(size_t own, const row_piece & piece, out_column & to, size_t at) override {
        const auto which = own == 0 ? column::ids : float_columns[own - 1];
        if (!piece.rows->layout->columns.has(which)) {
              to.set_null(at, piece.size());
              return;
        }
        const size_t  width  = piece.rows->layout->width(which);
        duckdb_vector child  = duckdb().list_vector_get_child(to.vector());
        auto *        places = to.data<duckdb_list_entry>() + at;
        const size_t  used   = at == 0 ? 0 : duckdb().list_vector_get_size(to.vector());
        duckdb().list_vector_reserve(to.vector(), used + piece.size() * width);
        for (size_t i = 0; i < piece.size(); ++i) {
              places[i] = {used + i * width, width};
        }
        void * values = duckdb().vector_get_data(child);  // after reserve, which may move it
        if (which == column::ids) {
              piece.rows->visit_ids([&](auto * ids) {
                std::copy_n(ids + piece.begin * width, piece.size() * width, static_cast<int32_t *>(values) + used);
            });
        } else {
              std::copy_n(piece.rows->values_of(which) + piece.begin * width, piece.size() * width,
                          static_cast<float *>(values) + used);
        }
        duckdb().list_vector_set_size(to.vector(), used + piece.size() * width);
    }
};

std::unique_ptr<table_scan> make_selections_scan(const run & r, const scan_request & request, const std::string &) {
    if (grouped_scan::fits(request, n_common + selections_scan::expert)) {
        return std::make_unique<grouped_scan>(r, request);
    }
    return std::make_unique<selections_scan>(r, request);
}

template <class Scan>
std::unique_ptr<table_scan> make_scan(const run & r, const scan_request & request, const std::string &) {
    return std::make_unique<Scan>(r, request);
}

}  // namespace

table selections_table() {
    return {"selections", "one row per token, layer and rank",
            with_common_columns({
                {"rank", column_type::integer, "0: the expert selected first"},
                {"expert", column_type::integer, "id in its layer"},
                {"weight", column_type::real, "the final gate weight"},
                {"weight_raw", column_type::real, "before normalisation and scale"},
                {"norm", column_type::real, "Euclidean norm of the expert's output"},
            }),
            make_selections_scan};
}

table rows_table() {
    return {"rows", "one row per token and layer, with everything that was captured",
            with_common_columns({
                {"ids", column_type::integers, "the selected experts, by rank"},
                {"weights", column_type::reals, "final gate weights, by rank"},
                {"weights_raw", column_type::reals, "before normalisation and scale, by rank"},
                {"logits", column_type::reals, "router output, by expert"},
                {"probs", column_type::reals, "after softmax or sigmoid, by expert"},
                {"selection", column_type::reals, "the scores that the top-k was taken of, by expert"},
                {"norms", column_type::reals, "norms of the experts' outputs, by rank"},
                {"gate_input", column_type::reals, "what the router read"},
            }),
            make_scan<rows_scan>};
}

table scores_table() {
    return {"scores", "one row per token, layer and expert, where scores were captured",
            with_common_columns({
                {"expert", column_type::integer, "id in its layer"},
                {"logit", column_type::real, "router output"},
                {"prob", column_type::real, "after softmax or sigmoid"},
                {"selection", column_type::real, "the score that the top-k was taken of"},
            }),
            make_scan<scores_scan>};
}

}  // namespace moescope::sql
