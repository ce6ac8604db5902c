#include "trace/writer.hpp"

#include <algorithm>
#include <cstddef>

#include "core/error.hpp"
#include "core/version.hpp"
#include "io/path.hpp"
#include "trace/encode_frame.hpp"

namespace moescope::trace {

namespace {

text_pairs model_pairs(const model_info & m) {
    text_pairs p = {
        {"architecture", m.architecture},
        {"name", m.name},
        {"file", m.file},
        {"file_size", std::to_string(m.file_size)},
        {"n_layer", std::to_string(m.n_layer)},
        {"n_expert", std::to_string(m.n_expert)},
        {"n_expert_used", std::to_string(m.n_expert_used)},
        {"n_embd", std::to_string(m.n_embd)},
        {"n_vocab", std::to_string(m.n_vocab)},
    };
    for (const auto & [key, value] : m.metadata) {
        p.emplace_back("meta." + key, value);
    }
    return p;
}

}  // namespace

trace_writer::trace_writer(std::string path, trace_head head, writer_options options)
    : path_(std::move(path)),
      head_(std::move(head)),
      options_(options) {
    sink_ = open_part();
}

trace_writer::~trace_writer() {
    try {
        if (!finished_ && !failed_) {
            flush();
        }
    } catch (const std::exception &) {
        // Nobody is left to tell; the file reads up to its last whole chunk.
    }
}

std::unique_ptr<io::byte_sink> trace_writer::open_part() const {
    auto sink = io::open_file_sink(part_path(path_, part_), options_.existing, trace_file);

    file_header file = {};
    std::memcpy(file.magic, file_magic, sizeof(file.magic));
    file.version = format_version;

    text_pairs about = {
        {"moescope", version},
        {"trace_id", std::to_string(head_.trace_id)},
        {"part", std::to_string(part_)},
        {"stream", std::to_string(head_.stream)},
        {"program", head_.program},
        {"pid", std::to_string(head_.pid)},
        {"started_unix_ns", std::to_string(head_.started_unix_ns)},
        {"captured", to_string(head_.captured)},
        {"mode", options_.counts_only ? "counts" : "rows"},
    };
    if (part_ > 1) {
        about.emplace_back("ubatches_before", std::to_string(n_flushed_));
    }
    if (!head_.mask.empty()) {
        about.emplace_back("mask", head_.mask);
    }
    if (options_.tokens != kept_tokens::all) {
        about.emplace_back("left_out", options_.tokens == kept_tokens::ids ? "text" : "text,tokens");
    }
    encoder head;
    head.pairs(about);
    // File header and head go out in one write, so that a trace never exists without its head.
    encoder first;
    first.value(file);
    first.value(make_chunk_header(chunk_kind::head, head.data(), head.size()));
    first.raw(head.data(), head.size());
    first.pad(8);
    sink->write(first.data(), first.size());
    return sink;
}

void trace_writer::roll_over() {
    // The next part is there before this one names it: no trace ever goes on in a file that does not exist.
    part_ += 1;
    failed_                             = true;  // unless it can be created
    std::unique_ptr<io::byte_sink> sink = open_part();
    failed_                             = false;
    encoder end;
    end.pairs({{"reason", "goes on in the next part"}, {"next", io::base_name(part_path(path_, part_))}});
    put(chunk_kind::end, end);
    bytes_before_ += sink_->size();
    sink_ = std::move(sink);
    if (has_model_) {
        put_model();
    }
    for (const graph_layout & l : layouts_) {
        put_layout(l);
    }
    for (const access_list & a : access_lists_) {
        put_access(a);
    }
}

void trace_writer::put(chunk_kind kind, const encoder & payload) {
    encoder whole;
    whole.value(make_chunk_header(kind, payload.data(), payload.size()));
    whole.raw(payload.data(), payload.size());
    whole.pad(8);
    failed_ = true;  // unless the write returns
    try {
        sink_->write(whole.data(), whole.size());
    } catch (const error &) {
        const auto why = static_cast<uint32_t>(sink_->failure());
        sink_->amend(offsetof(file_header, stopped), &why, sizeof(why));
        throw;
    }
    failed_ = false;
}

void trace_writer::model(const model_info & m) {
    model_     = m;
    has_model_ = true;
    put_model();
}

void trace_writer::put_model() {
    encoder payload;
    payload.pairs(model_pairs(model_));
    put(chunk_kind::model, payload);
}

void trace_writer::piece(int32_t token, const std::string & text) {
    if (options_.tokens != kept_tokens::all) {
        return;
    }
    pieces_.value(token);
    pieces_.text(text);
}

uint32_t trace_writer::access(const access_list & list) {
    const auto it = std::find(access_lists_.begin(), access_lists_.end(), list);
    if (it != access_lists_.end()) {
        return static_cast<uint32_t>(it - access_lists_.begin()) + 1;
    }
    access_lists_.push_back(list);
    put_access(list);
    return static_cast<uint32_t>(access_lists_.size());
}

void trace_writer::put_access(const access_list & list) {
    encoder payload;
    payload.value(static_cast<uint32_t>(list.size()));
    for (const access_entry & e : list) {
        payload.text(e.op);
        payload.text(e.dst);
        payload.value(e.layer);
        payload.value(e.block);
        payload.value(static_cast<uint32_t>(e.sources.size()));
        for (const std::string & s : e.sources) {
            payload.text(s);
        }
    }
    put(chunk_kind::access, payload);
}

uint32_t trace_writer::layout_number(const graph_layout & layout) {
    const auto it = std::find(layouts_.begin(), layouts_.end(), layout);
    if (it != layouts_.end()) {
        return static_cast<uint32_t>(it - layouts_.begin());
    }
    layouts_.push_back(layout);
    put_layout(layout);
    return static_cast<uint32_t>(layouts_.size()) - 1;
}

void trace_writer::put_layout(const graph_layout & layout) {
    encoder payload;
    payload.value(static_cast<uint32_t>(layout.size()));
    for (const block_layout & l : layout) {
        const block_record r = {l.layer, l.block,          l.n_expert,   l.n_expert_used,        l.n_embd,
                                l.flags, l.columns.bits(), l.weight_sum, options_.f16 ? 2u : 4u, 0};
        payload.value(r);
    }
    put(chunk_kind::layout, payload);
}

void trace_writer::ubatch(const routed_ubatch & u) {
    if (due_) {
        flush();
    }
    n_ubatches_ += 1;
    n_tokens_ += u.n_tokens();
    const uint32_t layout = layout_number(*u.layout);
    if (options_.counts_only) {
        counts_.add(u);
    } else {
        put_frame(u, layout);
    }
    if (frames_.size() >= options_.flush_bytes || u.time_ns - flushed_ns_ >= flush_interval_ns(u.time_ns)) {
        flushed_ns_ = u.time_ns;
        due_        = verifies_drafts(u);
        if (!due_) {
            flush();
        }
    }
}

void trace_writer::put_frame(const routed_ubatch & u, uint32_t layout) {
    if (!encode_frame(frames_, u, {layout, options_.f16, options_.tokens != kept_tokens::nothing})) {
        failed_ = true;
        throw error("a ubatch of " + std::to_string(u.n_tokens()) + " tokens holds more than 4 GiB of captured values")
            .fix("capture less, fewer layers (--layers), or use a smaller -ub");
    }
}

void trace_writer::memory(const memory_event & e) {
    if (options_.counts_only) {
        counts_.take_back(e);  // there are no rows that an event could speak of
        return;
    }
    encode_event(memory_, e);
    if (memory_.size() >= options_.flush_bytes) {
        flush();
    }
}

uint64_t trace_writer::flush_interval_ns(uint64_t now_ns) const {
    // Every counts chunk repeats all counts: let their distance grow with the run, so that days stay small.
    constexpr uint64_t half_second = 500'000'000;
    if (options_.counts_only) {
        return std::max(half_second, now_ns / 64);
    }
    // Rows of a short run reach a watcher at once; those of a long one are not cut into a chunk per token.
    return std::clamp(now_ns / 200, options_.flush_ns, std::max(options_.flush_ns, half_second));
}

void trace_writer::flush() {
    due_ = false;
    if (options_.max_size > 0 && sink_->size() + frames_.size() + pieces_.size() > options_.max_size &&
        frames_.size() > 0 && sink_->size() > 4096) {
        roll_over();
    }
    if (pieces_.size() > 0) {
        put(chunk_kind::pieces, pieces_);
        pieces_.clear();
    }
    if (memory_.size() > 0) {  // before the rows, so that nobody reads drafts without knowing what became of them
        put(chunk_kind::memory, memory_);
        memory_.clear();
    }
    if (frames_.size() > 0) {
        put(chunk_kind::rows, frames_);
        frames_.clear();
    }
    if (options_.counts_only) {
        put_counts();
    }
    n_flushed_ = n_ubatches_;
}

void trace_writer::put_counts() {
    const expert_counts & counts = counts_.counts();
    const uint32_t        layout = layout_number(counts.layout);
    scratch_.clear();
    scratch_.value(counts_header{layout, 0, counts.tokens, counts.decoded, counts.ubatches});
    for (const expert_counts::block & b : counts.blocks) {
        scratch_.value(b.rows);
        scratch_.value(b.rows_decoded);
        scratch_.raw(b.count.data(), b.count.size() * sizeof(uint64_t));
    }
    put(chunk_kind::counts, scratch_);
}

void trace_writer::note(const std::string & text) {
    encoder payload;
    payload.raw(text.data(), text.size());
    put(chunk_kind::note, payload);
}

void trace_writer::finish(const trace_end & end) {
    if (failed_) {
        return;
    }
    finished_ = true;
    flush();
    encoder payload;
    payload.pairs({
        {"reason", end.reason},
        {"ubatches", std::to_string(n_ubatches_)},
        {"tokens", std::to_string(n_tokens_)},
        {"run_ns", std::to_string(end.run_ns)},
        {"capture_ns", std::to_string(end.capture_ns)},
        {"compute_ns", std::to_string(end.compute_ns)},
    });
    put(chunk_kind::end, payload);
}

}  // namespace moescope::trace
