#include "cli/answers/matched_runs.hpp"

#include <algorithm>

#include "cli/answers/same_model.hpp"
#include "core/error.hpp"
#include "logs/open.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

void drop_layers(agreement_result & r, const analyze_options & o) {
    const row_choice choice = choice_of(o);
    r.blocks.erase(std::remove_if(r.blocks.begin(), r.blocks.end(),
                                  [&](const block_agreement & b) { return !choice.layers.has(b.layout.layer); }),
                   r.blocks.end());
}

}  // namespace

matched_files measure_files(const std::string & a, const std::string & b, const analyze_options & o) {
    const auto x = logs::open_source(a), y = logs::open_source(b);
    require_rows(*x);
    require_rows(*y);
    matched_files m;
    m.why_not      = why_unrelated(x->model(), y->model());
    m.names_differ = !x->model().name.empty() && !y->model().name.empty() && x->model().name != y->model().name;
    if (m.why_not.empty()) {
        m.result = measure_agreement(*x, *y);
        drop_layers(m.result, o);
    }
    return m;
}

void refuse_filters(const analyze_options & o, const char * kind) {
    if (!o.phase.empty()) {
        throw usage_error(std::string("--phase does not go with ") + kind + ": runs are matched token by token");
    }
}

running_stats overall(const agreement_result & r) {
    running_stats mean;  // of layers, each of equal weight
    for (const block_agreement & b : r.blocks) {
        if (b.overlap.n() > 0) {
            mean.add(b.overlap.mean());
        }
    }
    return mean;
}

}  // namespace moescope::cli
