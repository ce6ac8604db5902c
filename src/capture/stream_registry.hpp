#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "capture/ggml_api.hpp"
#include "capture/stream.hpp"

namespace moescope::capture {

// Who owns what: a stream for each llama_context, and the context that each scheduler computes for. Contexts are created,
// used and freed by any thread; a stream is used by the thread that uses its context. Every method locks; none calls into
// a stream's sink.
//
// A context that is not in here may be freed: nothing may be asked of it.
class stream_registry {
public:
    using open_sink = stream::open_sink;

    stream_registry(const ggml_api & api, open_sink open) : api_(api), open_(std::move(open)) {}

    // The context's stream, made where there is none: only for a context that is known to live.
    stream & of_context(llama_context * ctx);
    // The stream of what a scheduler computes: its context's, else one of its own.
    stream &        of_sched(ggml_backend_sched_t sched);
    stream *        find(llama_context * ctx) const;  // null when it has none
    llama_context * find_by_memory(llama_memory_t memory) const;

    // The scheduler computes for this context, or, where that is not known to live, for nobody.
    void                              set_owner(ggml_backend_sched_t sched, llama_context * ctx);
    std::vector<ggml_backend_sched_t> scheds_of(llama_context * ctx) const;

    void set_warmup(llama_context * ctx, bool on);
    void set_phase(phase p);

    // Takes the stream out, for the caller to close; null where there is none.
    std::unique_ptr<stream>              take(llama_context * ctx);
    std::unique_ptr<stream>              take(ggml_backend_sched_t sched);
    std::vector<std::unique_ptr<stream>> take_all();
    std::vector<stream *>                all() const;  // of contexts

private:
    std::unique_ptr<stream> make(llama_context * ctx);

    const ggml_api & api_;
    const open_sink  open_;

    draft_board board_;  // outlives the streams that write on it

    mutable std::mutex mutex_;  // guards what is below, not what the streams do
    std::unordered_map<llama_context *, std::unique_ptr<stream>>      streams_;
    std::unordered_map<ggml_backend_sched_t, llama_context *>         owners_;
    std::unordered_map<ggml_backend_sched_t, std::unique_ptr<stream>> orphans_;  // computed outside llama_decode
    std::unordered_map<llama_context *, bool>                         warming_;  // also before there is a stream
    std::optional<phase>                                              phase_;
};

}  // namespace moescope::capture
