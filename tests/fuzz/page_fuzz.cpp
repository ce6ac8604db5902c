// libFuzzer target: any bytes as a trace or log, and what `report` makes of them: sums, pairs, tiles, prompts, simulated caches,
// the page's bytes. Counts agree with one another. Checksums are made right first, as in trace_fuzz.

#include <numeric>

#include "common.hpp"
#include "core/error.hpp"
#include "report/page_bundle.hpp"
#include "report/report.hpp"
#include "support/right_checksums.hpp"

using namespace moescope;
using fuzz::promised;

namespace {

void check_run(const report::page_run & run) {
    uint64_t selections = 0;
    for (const report::page_block & b : run.blocks) {
        promised(b.rows_decoded <= b.rows, "decoded rows are rows");
        selections += b.rows * b.layout.n_expert_used;
    }
    const auto & count = run.cells.count;
    promised(run.source.counts_only || std::accumulate(count.begin(), count.end(), uint64_t{0}) <= selections,
             "no row selects more than k experts");
    promised(run.decoded <= run.tokens && run.tile.size() <= run.tokens, "the tile's tokens are the run's");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    std::string bytes = fuzz::text_of(data, size);
    test::make_checksums_right(bytes);
    const fuzz::memory_file file(bytes);
    report::report_options  o;
    o.traces = {file.path()};
    try {
        const report::page page = report::build_page(o, {});
        for (const report::page_run & run : page.runs) {
            check_run(run);
        }
        promised(report::to_bytes(page, false).rfind("MOEPAGE0", 0) == 0, "the page's data is a bundle");
    } catch (const error &) {  // anything else ends the run
    }
    return 0;
}
