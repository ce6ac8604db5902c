#include "cli/answers/eviction_trace.hpp"

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "cli/answers/shared.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

// "least_stale_hit"
std::string column_name(cache_policy policy, const char * what) {
    std::string name = to_string(policy);
    for (char & c : name) {
        c = c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    return name + "_" + what;
}

void write_head(std::FILE * out, const std::vector<cache_step> & steps) {
    std::string line = "ubatch,layer,block,expert,slots";
    for (const cache_step & s : steps) {
        if (s.slots == steps.front().slots) {
            line += "," + column_name(s.policy, "hit") + "," + column_name(s.policy, "evicted");
        }
    }
    fmt::print(out, "{}\n", line);
}

void write_access(std::FILE * out, const cache_access & a) {
    for (size_t i = 0; i < a.steps.size();) {
        const uint32_t slots = a.steps[i].slots;
        fmt::print(out, "{},{},{},{},{}", a.ubatch, a.layout->layer, a.layout->block, a.expert, slots);
        for (; i < a.steps.size() && a.steps[i].slots == slots; ++i) {
            const cache_step & s = a.steps[i];
            fmt::print(out, ",{},{}", int(s.hit),
                       s.layout == nullptr ? "" : fmt::format("{}/{}", block_name(*s.layout), s.evicted));
        }
        fmt::print(out, "\n");
    }
}

}  // namespace

cache_result simulate_with_evictions(cache_study & study, cache_plan plan, const output_options & output) {
    cache_result result;
    write_output(output, [&](std::FILE * out) {
        bool first     = true;
        plan.on_access = [&](const cache_access & a) {
            if (first) {
                write_head(out, a.steps);
            }
            first = false;
            write_access(out, a);
        };
        result = study.simulate({plan}).front();
    });
    return result;
}

}  // namespace moescope::cli
