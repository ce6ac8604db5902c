#include "recorder/injected/trace_output.hpp"

#include <algorithm>

#include <time.h>
#include <unistd.h>

#include "core/error.hpp"
#include "io/write_whole.hpp"

namespace moescope::recorder {

namespace {

std::string program_name() {
    char          path[4096];
    const ssize_t n = ::readlink("/proc/self/exe", path, sizeof(path));
    std::string   name(path, n > 0 ? static_cast<size_t>(n) : 0);
    return name.substr(name.rfind('/') + 1);
}

uint64_t wall_ns() {
    timespec t = {};
    ::clock_gettime(CLOCK_REALTIME, &t);
    return uint64_t(t.tv_sec) * 1'000'000'000 + uint64_t(t.tv_nsec);
}

trace::trace_head make_head(const settings & s, uint32_t stream) {
    trace::trace_head h;
    h.program         = program_name();
    h.pid             = ::getpid();
    h.stream          = stream;
    h.started_unix_ns = wall_ns();
    h.trace_id        = trace::new_trace_id();
    h.captured        = s.capture.what;
    return h;
}

trace::writer_options make_options(const settings & s) {
    trace::writer_options o;
    o.counts_only = s.counts_only;
    o.f16         = s.f16;
    o.max_size    = s.max_size;
    o.existing    = io::existing_file::replace;  // the host must not stop for a name that is taken
    return o;
}

}  // namespace

void print_stderr(const std::string & lines) {
    io::write_whole(STDERR_FILENO, lines.data(), lines.size());  // a closed stderr is the host's choice
}

template <class F>
void fan_out::for_each(F f) {
    for (size_t i = 0; i < sinks_.size();) {
        try {
            f(*sinks_[i]);
            ++i;
        } catch (const std::exception & e) {
            sinks_.erase(sinks_.begin() + static_cast<std::ptrdiff_t>(i));
            on_failure(e.what());
        }
    }
}

void fan_out::model(const model_info & m) {
    for_each([&](routing_sink & s) { s.model(m); });
}

void fan_out::piece(int32_t token, const std::string & text) {
    for_each([&](routing_sink & s) { s.piece(token, text); });
}

uint32_t fan_out::access(const access_list & list) {
    uint32_t number = 0;  // every sink numbers the lists in the order in which they first come: alike
    for_each([&](routing_sink & s) { number = std::max(number, s.access(list)); });
    return number;
}

void fan_out::ubatch(const routed_ubatch & u) {
    for_each([&](routing_sink & s) { s.ubatch(u); });
}

void fan_out::note(const std::string & text) {
    for_each([&](routing_sink & s) { s.note(text); });
}

trace_output::trace_output(const settings & s, uint32_t stream, std::function<uint64_t()> capture_ns, told on_failure)
    : writer_(numbered(s.trace_path, stream), make_head(s, stream), make_options(s)),
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
