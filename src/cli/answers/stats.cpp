// The tables of moescope stats --json and --csv: those of `analyze frequency`, with what the trace says of itself.

#include "cli/answers/shared.hpp"

namespace moescope::cli {

answer answer_stats(const analyze_options & o) {
    answer a          = answer_frequency(o, true);
    a.kind            = "stats";
    const auto source = open_trace(o, o.traces.front());
    a.figures.push_back({"model", source->model().name});
    a.figures.push_back({"architecture", source->model().architecture});
    a.figures.push_back({"program", source->info().program});
    a.figures.push_back({"tokens_taken_back", whole(source->info().taken_back)});
    for (const auto & [name, why] : {std::pair{"positions_cut", memory_event::removal::cut},
                                     {"positions_discarded", memory_event::removal::discard},
                                     {"positions_dropped", memory_event::removal::drop}}) {
        a.figures.push_back({name, whole(source->info().removed[static_cast<size_t>(why)].positions)});
    }
    a.figures.push_back({"bytes", whole(source->info().bytes)});
    a.figures.push_back({"run_ns", whole(source->info().run_ns)});
    a.figures.push_back({"capture_ns", whole(source->info().capture_ns)});
    return a;
}

}  // namespace moescope::cli
