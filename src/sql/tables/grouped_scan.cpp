#include "sql/tables/grouped_scan.hpp"

#include <algorithm>

namespace moescope::sql {

namespace {

constexpr auto place_of(row_column c) {
    return static_cast<size_t>(c);
}

}  // namespace

bool grouped_scan::fits(const scan_request & request, size_t expert_column) {
    const size_t alike[] = {place_of(row_column::run), place_of(row_column::phase), place_of(row_column::layer),
                            place_of(row_column::block), expert_column};
    return std::all_of(request.columns.begin(), request.columns.end(),
                       [&](const scan_column & c) {
                           return std::find(std::begin(alike), std::end(alike), c.which) != std::end(alike);
                       }) &&
           request.bounds.sequence.all();
}

grouped_scan::grouped_scan(const run & r, scan_request request) : run_(r.name), request_(std::move(request)) {
    const auto          source = open_rows(r);
    analysis::frequency counter(analysis::router_probs::passed_by);
    for (routed_ubatch u; source->next(u);) {
        counter.ubatch(u);
    }
    const analysis::frequency_result counted = counter.counts();
    for (const analysis::block_frequency & b : counted.blocks) {
        for (size_t kind = 0; kind < analysis::n_row_kinds && request_.bounds.layer.has(b.layout.layer); ++kind) {
            const bool known = kind < request_.bounds.phases.size();
            if (!(known ? request_.bounds.phases[kind] : request_.bounds.unknown_phases)) {
                continue;
            }
            for (size_t e = 0; e < b.count[kind].size(); ++e) {
                if (b.count[kind][e] > 0) {
                    groups_.push_back({b.layout.layer, b.layout.block, static_cast<int32_t>(e),
                                       known ? static_cast<int32_t>(kind) : -1, b.count[kind][e]});
                }
            }
        }
    }
    std::reverse(groups_.begin(), groups_.end());
}

uint64_t grouped_scan::fill(duckdb_data_chunk out) {
    if (groups_.empty()) {
        return 0;
    }
    group &                 g       = groups_.back();
    const uint64_t          n       = std::min<uint64_t>(g.n, duckdb().vector_size());
    std::vector<out_column> columns = vectors_of(out, request_);
    for (size_t c = 0; c < columns.size(); ++c) {
        switch (static_cast<row_column>(request_.columns[c].which)) {
            case row_column::run: columns[c].set_constant(run_); break;
            case row_column::layer: columns[c].set_constant(g.layer); break;
            case row_column::block: columns[c].set_constant(g.block); break;
            case row_column::phase:
                if (g.phase < 0) {
                    columns[c].set_null(0, n);
                } else {
                    std::fill_n(columns[c].data<uint8_t>(), n, static_cast<uint8_t>(g.phase));
                }
                break;
            default: columns[c].set_constant(g.expert);
        }
    }
    g.n -= n;
    if (g.n == 0) {
        groups_.pop_back();
    }
    return n;
}

}  // namespace moescope::sql
