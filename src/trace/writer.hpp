#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/routing.hpp"
#include "io/byte_sink.hpp"
#include "trace/counted_text.hpp"
#include "trace/encode.hpp"
#include "trace/head.hpp"

namespace moescope::trace {

// What a trace keeps of the tokens themselves; their places and phases it always has.
enum class kept_tokens { all, ids, nothing };  // all: ids and texts

struct writer_options {
    bool        counts_only = false;  // keep cumulative counts instead of rows
    bool        f16         = false;  // store columns as half precision
    kept_tokens tokens      = kept_tokens::all;
    uint64_t    max_size    = 0;           // bytes per part; 0: no limit
    size_t      flush_bytes = 256u << 10;  // a chunk is written when it holds this much …
    uint64_t    flush_ns = 5'000'000;  // … or when this long has passed since the last, and a 200th of the run, but
                                       // half a second at most: what a killed program loses
    io::existing_file existing = io::existing_file::refuse;
};

struct trace_end {
    std::string reason;          // "finished", "exit", "stopped: …"
    uint64_t    run_ns     = 0;  // time the trace covers
    uint64_t    capture_ns = 0;  // of it, spent in marking, reading and writing
    uint64_t    compute_ns = 0;  // of it, not idle: from the beginnings of batches to their rows; 0: not known
};

// Writes one stream's trace; see docs/trace-format.md. Not thread-safe: one stream calls from one thread at a time.
// Every method may throw moescope::error (disk full, …); after that the file is valid up to its last whole chunk, has no
// end, and the writer writes nothing more.
class trace_writer final : public routing_sink {
public:
    trace_writer(std::string path, trace_head head, writer_options options);
    ~trace_writer() override;  // flushes what it can; errors are swallowed

    void     model(const model_info & m) override;
    void     piece(int32_t token, const std::string & text) override;
    uint32_t access(const access_list & list) override;
    void     ubatch(const routed_ubatch & u) override;
    void     memory(const memory_event & e) override;
    void     note(const std::string & text) override;

    bool pending() const {
        return frames_.size() > 0 || memory_.size() > 0 || (options_.counts_only && n_ubatches_ > n_flushed_);
    }
    void flush();                        // writes the pending chunk
    void finish(const trace_end & end);  // the last call; does nothing after an error

    const std::string & path() const { return path_; }  // of the first part
    uint64_t            bytes() const { return bytes_before_ + sink_->size(); }

private:
    std::unique_ptr<io::byte_sink> open_part() const;
    void                           roll_over();
    void                           put(chunk_kind kind, const encoder & payload);
    uint32_t                       layout_number(const graph_layout & layout);
    void                           put_layout(const graph_layout & layout);
    void                           put_model();
    void                           put_access(const access_list & list);
    void                           put_counts();
    uint64_t                       flush_interval_ns(uint64_t now_ns) const;
    void                           put_frame(const routed_ubatch & u, uint32_t layout);

    std::string                    path_;
    trace_head                     head_;
    writer_options                 options_;
    std::unique_ptr<io::byte_sink> sink_;
    uint32_t                       part_         = 1;
    uint64_t                       bytes_before_ = 0;  // in earlier parts
    bool                           finished_     = false;
    bool                           failed_       = false;

    model_info                model_;
    bool                      has_model_ = false;
    std::vector<graph_layout> layouts_;
    std::vector<access_list>  access_lists_;
    uint64_t                  n_ubatches_ = 0, n_tokens_ = 0;
    uint64_t                  n_flushed_ = 0;  // ubatches that are in the file
    counted_text              counts_;         // with counts_only

    encoder  pieces_, memory_, frames_, scratch_;
    uint64_t flushed_ns_ = 0;      // when the last chunk went out
    bool     due_        = false;  // a chunk is, with the next ubatch
};

}  // namespace moescope::trace
