// tokens: one row per token of every ubatch.

#include "sql/engine/out_column.hpp"
#include "sql/tables/row_scan.hpp"
#include "sql/tables/tables.hpp"
#include "sql/text.hpp"

namespace moescope::sql {

namespace {

class tokens_scan final : public table_scan {
public:
    tokens_scan(const run & r, scan_request request)
        : run_(r.name),
          request_(std::move(request)),
          source_(open_rows(r)),
          requests_(*source_),
          follows_(asks_for(request_, prompt, label)) {}

    uint64_t fill(duckdb_data_chunk out) override {
        std::vector<out_column> columns  = vectors_of(out, request_);
        const uint64_t          capacity = duckdb().vector_size();
        uint64_t                n        = 0;
        while (n < capacity && next_token()) {
            for (size_t c = 0; c < columns.size(); ++c) {
                write(static_cast<token_column>(request_.columns[c].which), columns[c], n);
            }
            ++n;
        }
        return n;
    }

private:
    enum token_column : size_t {
        run_name,
        token_index,
        ubatch,
        batch,
        time_ns,
        sequence,
        position,
        token_phase,
        prompt,
        label,
        token,
        text,
    };

    // Finds the next token that is wanted, as token_.
    bool next_token() {
        for (;;) {
            for (token_ += begun_; token_ < ubatch_.n_tokens(); ++token_) {
                begun_               = true;
                const row_bounds & b = request_.bounds;
                const int32_t      s = ubatch_.seq[token_];
                if (b.phases[ubatch_.phases[token_] != 0] && (b.sequence.all() || (s >= 0 && b.sequence.has(s)))) {
                    return true;
                }
            }
            first_token_ += ubatch_.n_tokens();
            begun_ = false;
            token_ = 0;
            if (!source_->next(ubatch_)) {
                ubatch_ = {};
                return false;
            }
            if (follows_) {
                requests_.follow(ubatch_);
            }
            n_ubatches_ += 1;
        }
    }

    void write(token_column which, out_column & to, uint64_t at) {
        const auto bigint  = [&](uint64_t value) { to.data<int64_t>()[at] = static_cast<int64_t>(value); };
        const auto integer = [&](int32_t value) {
            to.data<int32_t>()[at] = value;
            if (value < 0) {
                to.set_null(at);
            }
        };
        switch (which) {
            case run_name:
                if (at == 0) {
                    to.set_constant(run_);
                }
                break;
            case token_index: bigint(first_token_ + token_); break;
            case ubatch: bigint(n_ubatches_ - 1); break;
            case batch: bigint(ubatch_.batch); break;
            case time_ns: bigint(ubatch_.time_ns); break;
            case sequence: integer(ubatch_.seq[token_]); break;
            case position: integer(ubatch_.pos[token_]); break;
            case token_phase: to.data<uint8_t>()[at] = ubatch_.phases[token_]; break;
            case prompt: {
                const int64_t request  = requests_.of(static_cast<int32_t>(token_));
                to.data<int64_t>()[at] = request;
                if (request < 0) {
                    to.set_null(at);
                }
                break;
            }
            case label: {
                const std::string & of = requests_.label_of(requests_.of(static_cast<int32_t>(token_)));
                of.empty() ? to.set_null(at) : to.set_text(at, valid_utf8(of));
                break;
            }
            case token: integer(ubatch_.token[token_]); break;
            case text: {
                const int32_t       id    = ubatch_.token[token_];
                const std::string * piece = id < 0 ? nullptr : source_->piece(id);
                piece == nullptr ? to.set_null(at) : to.set_text(at, valid_utf8(*piece));
                break;
            }
        }
    }

    std::string                          run_;
    scan_request                         request_;
    std::unique_ptr<trace::trace_source> source_;
    analysis::labelled_requests          requests_;
    bool                                 follows_;  // whether a column asks for requests
    routed_ubatch                        ubatch_;
    uint64_t                             n_ubatches_ = 0, first_token_ = 0;  // of the ubatch at hand
    size_t                               token_ = 0;
    bool                                 begun_ = false;  // token_ has been looked at
};

}  // namespace

table tokens_table() {
    return {"tokens",
            "one row per token of every ubatch",
            {
                {"run", column_type::text, "which file"},
                {"token_index", column_type::bigint, "counted over the run from 0: joins rows of one token"},
                {"ubatch", column_type::bigint, "counted over the run from 0"},
                {"batch", column_type::bigint, "which llama_decode call of the stream, from 0"},
                {"time_ns", column_type::bigint, "since the run began"},
                {"sequence", column_type::integer, "the token's sequence"},
                {"position", column_type::integer, "its position there"},
                {"phase", column_type::phase, "prefill or decode"},
                {"prompt", column_type::bigint, "its prompt or request, from 0 in the order in which they begin"},
                {"label", column_type::text, "of the prompt"},
                {"token", column_type::integer, "id in the vocabulary"},
                {"text", column_type::text, "of the token"},
            },
            [](const run & r, const scan_request & request, const std::string &) -> std::unique_ptr<table_scan> {
                return std::make_unique<tokens_scan>(r, request);
            }};
}

}  // namespace moescope::sql
