// experts: one row per expert, with its counts and, where the model file is known, its size.

#include <algorithm>

#include "analysis/tools/model_sizes.hpp"
#include "core/block_table.hpp"
#include "core/expert_counts.hpp"
#include "logs/open.hpp"
#include "sql/engine/out_column.hpp"
#include "sql/tables/tables.hpp"

namespace moescope::sql {

namespace {

expert_counts counts_of(trace::trace_source & source) {
    if (const expert_counts * stored = source.stored_counts()) {
        return *stored;
    }
    expert_counts all;
    for (routed_ubatch u; source.next(u);) {
        all.add(u);
    }
    return all;
}

class experts_scan final : public table_scan {
public:
    experts_scan(const run & r, const scan_request & request, const std::string & model)
        : run_(r.name),
          request_(request) {
        const auto source = logs::open_source(r.path);
        blocks_           = source->blocks();
        if (asked({rows, rows_decoded, selections, share})) {
            counts_ = counts_of(*source);
        }
        if (asked({bytes}) && !model.empty()) {
            sizes_ = analysis::read_expert_sizes(model);
        }
    }

    uint64_t fill(duckdb_data_chunk out) override {
        std::vector<out_column> columns = vectors_of(out, request_);
        uint64_t                n       = 0;
        for (; n < duckdb().vector_size() && block_ < blocks_.size(); ++n) {
            for (size_t c = 0; c < columns.size(); ++c) {
                write(static_cast<expert_column>(request_.columns[c].which), columns[c], n);
            }
            if (++expert_ >= blocks_[block_].n_expert) {
                expert_ = 0;
                block_ += 1;
            }
        }
        return n;
    }

private:
    enum expert_column : size_t {
        run_name,
        layer,
        block,
        expert,
        rows,
        rows_decoded,
        selections,
        share,
        n_expert,
        n_expert_used,
        bytes,
    };

    bool asked(std::initializer_list<size_t> any_of) const {
        return std::any_of(any_of.begin(), any_of.end(), [&](size_t c) {
            return std::any_of(request_.columns.begin(), request_.columns.end(),
                               [&](const scan_column & asked_for) { return asked_for.which == c; });
        });
    }

    void write(expert_column which, out_column & to, uint64_t at) const {
        const block_layout & l       = blocks_[block_];
        const auto           small   = [&](int64_t v) { to.data<int32_t>()[at] = static_cast<int32_t>(v); };
        const auto           integer = [&](uint64_t v) { to.data<int32_t>()[at] = static_cast<int32_t>(v); };
        switch (which) {
            case run_name:
                if (at == 0) {
                    to.set_constant(run_);
                }
                break;
            case layer: small(l.layer); break;
            case block: small(l.block); break;
            case expert: small(expert_); break;
            case n_expert: integer(l.n_expert); break;
            case n_expert_used: integer(l.n_expert_used); break;
            case bytes: {
                const uint64_t size    = sizes_.of(l);
                to.data<int64_t>()[at] = static_cast<int64_t>(size);
                if (size == 0) {
                    to.set_null(at);
                }
                break;
            }
            default: write_count(which, to, at);
        }
    }

    void write_count(expert_column which, out_column & to, uint64_t at) const {
        const size_t                      i = find_block(counts_.layout, blocks_[block_], block_);
        static const expert_counts::block none;
        const expert_counts::block &      b     = i < counts_.blocks.size() ? counts_.blocks[i] : none;
        const uint64_t                    count = expert_ < b.count.size() ? b.count[expert_] : 0;
        const auto bigint                       = [&](uint64_t v) { to.data<int64_t>()[at] = static_cast<int64_t>(v); };
        switch (which) {
            case rows: bigint(b.rows); break;
            case rows_decoded: bigint(b.rows_decoded); break;
            case selections: bigint(count); break;
            default: {
                uint64_t all = 0;
                for (const uint64_t c : b.count) {
                    all += c;
                }
                to.data<double>()[at] = all == 0 ? 0 : static_cast<double>(count) / static_cast<double>(all);
                if (all == 0) {
                    to.set_null(at);
                }
            }
        }
    }

    std::string            run_;
    scan_request           request_;
    graph_layout           blocks_;
    expert_counts          counts_;
    analysis::expert_sizes sizes_;
    size_t                 block_  = 0;  // the next row
    uint32_t               expert_ = 0;
};

}  // namespace

table experts_table() {
    return {"experts",
            "one row per expert of every run, counted",
            {
                {"run", column_type::text, "which file"},
                {"layer", column_type::integer, "of the model"},
                {"block", column_type::integer, "0; 1 in the second MoE block of a layer (GroveMoE)"},
                {"expert", column_type::integer, "id in its layer"},
                {"rows", column_type::bigint, "that its block routed"},
                {"rows_decoded", column_type::bigint, "of them, rows of decoded tokens"},
                {"selections", column_type::bigint, "how often it was selected"},
                {"share", column_type::double_, "of its block's selections"},
                {"n_expert", column_type::integer, "of its block"},
                {"n_expert_used", column_type::integer, "selected per row of its block"},
                {"bytes", column_type::bigint, "of its weights (--model)"},
            },
            [](const run & r, const scan_request & request, const std::string & model) -> std::unique_ptr<table_scan> {
                return std::make_unique<experts_scan>(r, request, model);
            }};
}

}  // namespace moescope::sql
