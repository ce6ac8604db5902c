#include "recorder/injected/trace_output.hpp"

#include <utility>

namespace moescope::recorder {

namespace {

trace::writer_options make_options(const settings & s) {
    trace::writer_options o;
    o.counts_only = s.counts_only;
    o.f16         = s.f16;
    o.max_size    = s.max_size;
    o.existing    = io::existing_file::replace_own;  // the host must not stop for a name that is taken
    return o;
}

}  // namespace

trace_output::trace_output(const settings & s, uint32_t stream, std::string mask, std::function<uint64_t()> capture_ns,
                           told on_failure)
    : writer_(numbered(s.trace_path, stream),
              trace::trace_head::of_this_process(s.capture.what, stream, std::move(mask)), make_options(s)),
      capture_ns_(std::move(capture_ns)),
      on_failure_(std::move(on_failure)) {}

trace_output::~trace_output() {
    try {
        trace::trace_end end;
        end.reason     = "the program ended, or freed this context";
        end.run_ns     = last_ns_;
        end.capture_ns = capture_ns_();
        writer_.finish(end);
    } catch (const std::exception & e) {
        on_failure_(e.what());
    }
}

void trace_output::ubatch(const routed_ubatch & u) {
    writer_.ubatch(u);
    last_ns_ = u.time_ns;
}

}  // namespace moescope::recorder
