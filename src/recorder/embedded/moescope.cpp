// The C API: the eval callback, with ggml's functions linked rather than looked up.

#include "moescope/moescope.h"

#include <chrono>
#include <cstring>
#include <memory>

#include "capture/eval_capture.hpp"
#include "capture/eval_mask.hpp"
#include "capture/model_query.hpp"
#include "capture/stream.hpp"
#include "core/error.hpp"
#include "core/fan_out.hpp"
#include "core/version.hpp"
#include "trace/writer.hpp"

namespace {

using namespace moescope;

uint64_t steady_ns() {
    return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

capture::ggml_api linked_api() {
    capture::ggml_api api;
#define X(name) api.name = ::name;
    MOESCOPE_GGML_FUNCTIONS(X)
    MOESCOPE_LLAMA_FUNCTIONS(X)
    MOESCOPE_MASK_FUNCTIONS(X)
#undef X
    return api;
}

void put(char * to, size_t size, const std::string & text) {
    if (to != nullptr && size > 0) {
        const size_t n = std::min(size - 1, text.size());
        std::memcpy(to, text.data(), n);
        to[n] = '\0';
    }
}

}  // namespace

struct moescope_capture {
    moescope_capture(const moescope_options & o, capture::capture_options what)
        : api(linked_api()),
          writer(o.output, trace::trace_head::of_this_process(what.what, 1, what.mask.to_text()), options(o)),
          mask(api, what.mask),
          watch(api, what, [this](const capture::eval_capture &, ubatch_buffer & u) { submit(u); }) {}

    static trace::writer_options options(const moescope_options & o) {
        trace::writer_options w;
        w.existing = o.replace ? io::existing_file::replace_own : io::existing_file::refuse;
        return w;
    }

    capture::stream & stream_of(const llama_context * ctx) {
        if (!stream) {
            stream = std::make_unique<capture::stream>(api, ctx, capture::query_model(api, ctx), board,
                                                       [this] { return std::make_unique<fan_out>(writer); });
            watch.set_mtp_layers(capture::mtp_layers_of(stream->model()));
        }
        return *stream;
    }

    void submit(ubatch_buffer & u) {
        u.time_ns = steady_ns() - started_ns;
        stream_of(nullptr).submit(u, {});
    }

    const capture::ggml_api          api;
    trace::trace_writer              writer;
    capture::eval_mask               mask;
    capture::eval_capture            watch;
    capture::draft_board             board;  // this capture sees one context, so it finds no draft model's
    std::unique_ptr<capture::stream> stream;
    std::string                      failure;
    const uint64_t                   started_ns = steady_ns();
    uint64_t                         spent_ns   = 0;
};

const char * moescope_version() {
    return moescope::version;
}

moescope_capture * moescope_create(const moescope_options * o, char * error, size_t error_size) {
    try {
        if (o == nullptr || o->output == nullptr || *o->output == '\0') {
            throw moescope::usage_error("moescope_create needs an output");
        }
        capture::capture_options what;
        if (o->capture != nullptr && *o->capture != '\0') {
            what.what = parse_capture_list(o->capture).columns;
        }
        what.layers = layer_filter(o->layers != nullptr ? o->layers : "");
        what.mask   = parse_expert_mask(o->mask != nullptr ? o->mask : "");
        return new moescope_capture(*o, what);
    } catch (const std::exception & e) {
        put(error, error_size, e.what());
        return nullptr;
    }
}

bool moescope_eval(ggml_tensor * tensor, bool ask, void * user_data) {
    auto * m = static_cast<moescope_capture *>(user_data);
    if (m == nullptr) {
        return !ask;  // no wish to see any tensor; the computation goes on
    }
    const uint64_t begin = steady_ns();
    const bool     masks = m->mask.wants(tensor);
    if (masks && !ask) {
        m->mask.before_reading(tensor);
    }
    const bool wants = capture::eval_capture::eval(tensor, ask, &m->watch);
    if (masks && !ask) {
        m->mask.after_reading(tensor);
    }
    m->spent_ns += steady_ns() - begin;
    return wants || masks;
}

void moescope_batch(moescope_capture * m, llama_context * ctx, const llama_batch * batch) {
    if (m == nullptr || batch == nullptr) {
        return;
    }
    try {
        m->watch.end(true);  // the batch before is complete
        m->stream_of(ctx).begin_batch(batch, false);
    } catch (const std::exception & e) {
        m->failure = e.what();
    }
}

int moescope_finish(moescope_capture * m, char * error, size_t error_size) {
    if (m == nullptr) {
        put(error, error_size, "there is no capture to finish");
        return 1;
    }
    const std::unique_ptr<moescope_capture> owned(m);
    try {
        m->watch.end(true);
        m->failure = m->mask.failure().empty() ? m->failure : "not masked: " + m->mask.failure();
        if (m->stream) {
            m->stream->close();
            m->failure = m->failure.empty() ? m->stream->failure() : m->failure;
        }
        if (m->failure.empty()) {
            m->writer.finish({"finished", steady_ns() - m->started_ns, m->spent_ns});
        }
    } catch (const std::exception & e) {
        m->failure = e.what();
    }
    put(error, error_size, m->failure);
    return m->failure.empty() ? 0 : 1;
}
