// moescope stats --requests: the requests of a server, or the prompts of a run, one by one.

#include <set>

#include <fmt/format.h>

#include "analysis/tools/prompt_labels.hpp"
#include "cli/answers/shared.hpp"
#include "cli/terminal/text.hpp"
#include "trace/requests.hpp"

namespace moescope::cli {

namespace {

// Follows the requests of a source through.
class request_reader final : public routing_sink {
public:
    void ubatch(const routed_ubatch & u) override { finder.follow(u); }

    trace::request_finder finder;
};

double seconds(uint64_t ns) {
    return static_cast<double>(ns) / 1e9;
}

table requests_table(const std::vector<trace::request> & requests, const std::vector<std::string> & labels,
                     uint32_t stream) {
    table t{"requests",
            "",
            {{"request", "request", shown::integer},
             {"stream", "", shown::integer},
             {"slot", "slot", shown::integer},
             {"start_s", "start s", shown::real},
             {"duration_s", "took s", shown::real},
             {"reused", "reused", shown::integer},
             {"prefilled", "prefilled", shown::integer},
             {"generated", "generated", shown::integer},
             {"label", labels.empty() ? "" : "label"}},
            {},
            40};
    for (size_t i = 0; i < requests.size(); ++i) {
        const trace::request & r = requests[i];
        t.rows.push_back({whole(i), whole(stream),
                          cell_if(r.sequence >= 0, static_cast<uint64_t>(std::max(0, r.sequence))), seconds(r.start_ns),
                          seconds(r.end_ns - r.start_ns), whole(r.reused), whole(r.prefilled), whole(r.decoded),
                          i < labels.size() ? labels[i] : std::string()});
    }
    return t;
}

}  // namespace

answer answer_requests(const analyze_options & o) {
    const auto source = open_trace(o, o.traces.front());
    require_rows(*source);
    request_reader reader;
    feed(*source, {}, {&reader});
    const std::vector<trace::request> & requests = reader.finder.requests();

    uint64_t          reused = 0, prefilled = 0, generated = 0;
    std::set<int32_t> slots;
    for (const trace::request & r : requests) {
        reused += r.reused;
        prefilled += r.prefilled;
        generated += r.decoded;
        slots.insert(r.sequence);
    }
    answer a;
    a.kind    = "requests";
    a.figures = {{"n_requests", whole(requests.size())},
                 {"slots", whole(slots.size())},
                 {"tokens_reused", whole(reused)},
                 {"tokens_prefilled", whole(prefilled)},
                 {"tokens_generated", whole(generated)}};
    a.headline.push_back(requests.empty()
                             ? std::string("The trace is empty: there was no request.")
                             : fmt::format("{} in {}: {} prefilled, {} reused from the cache, {} generated.",
                                           counted(requests.size(), "request"), counted(slots.size(), "slot"),
                                           counted(prefilled, "token"), with_commas(reused), with_commas(generated)));
    a.tables = {requests_table(requests, analysis::prompt_labels(source->info().notes), source->info().stream)};
    a.notes  = source_notes(*source);
    return a;
}

}  // namespace moescope::cli
