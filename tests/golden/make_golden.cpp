// Writes the golden trace of the current format version: make-golden v2.moetrace
// Run it once per released version and commit the result; a golden file that exists is never replaced.

#include <cstdio>
#include <exception>

#include "support/golden_trace.hpp"

int main(int argc, char ** argv) {
    using namespace moescope;
    using namespace moescope::test;
    if (argc != 2) {
        std::fprintf(stderr, "usage: make-golden FILE\n");
        return 2;
    }
    try {
        const planted::plan plan     = golden::plan();
        const graph_layout  layout   = planted::layout_of(plan);
        auto                ubatches = planted::make_ubatches(plan, layout);
        trace::trace_writer out(argv[1], golden::head(), {});
        const uint32_t      access = out.access(golden::accesses());
        for (auto & u : ubatches) {
            u.view.access = access;
        }
        std::vector<memory_event> events = golden::events();
        planted::feed(plan, ubatches, out, [&](size_t n_ubatches) {
            for (const memory_event & e : events) {
                if (e.n_ubatches == n_ubatches) {
                    out.memory(e);
                }
            }
        });
        out.note(golden::note());
        out.finish(golden::end());
    } catch (const std::exception & e) {
        std::fprintf(stderr, "make-golden: %s\n", e.what());
        return 1;
    }
    return 0;
}
