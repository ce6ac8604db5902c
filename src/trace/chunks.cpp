#include "trace/chunks.hpp"

#include "core/error.hpp"

namespace moescope::trace {

chunk_list::chunk_list(const std::string & path) : file_(path) {
    file_header h = {};
    if (file_.size() >= sizeof(h)) {
        std::memcpy(&h, file_.data(), sizeof(h));
    }
    if (std::memcmp(h.magic, file_magic, sizeof(h.magic)) != 0) {
        throw error(file_.size() == 0 ? "the file is empty" : "not a moescope trace")
            .in(path)
            .fix("traces are written by moescope record and moescope run");
    }
    if (h.version == 0 || h.version > format_version) {
        throw error("trace format version " + std::to_string(h.version) +
                    " is not known to this moescope, which reads versions up to " + std::to_string(format_version))
            .in(path)
            .fix("use a newer moescope");
    }
    next_ = sizeof(file_header);
    walk();
}

int chunk_list::stopped() const {
    file_header h = {};
    std::memcpy(&h, file_.data(), sizeof(h));
    return static_cast<int>(h.stopped);
}

bool chunk_list::refresh() {
    const uint64_t before = next_;
    file_.refresh();
    if (file_.size() < next_) {
        throw error("the trace became shorter while it was read").in(file_.path());
    }
    walk();
    return next_ > before;
}

chunk_place chunk_list::chunk_at(uint64_t header) const {
    chunk_header h;
    std::memcpy(&h, file_.data() + header, sizeof(h));
    if (h.size > file_.size() - header - sizeof(h)) {  // it was whole when it was walked over
        throw error("the trace changed while it was read").in(file_.path(), static_cast<int64_t>(header));
    }
    return {static_cast<chunk_kind>(h.kind), header + sizeof(h), h.size, h.hash};
}

// The chunk that lies between next_ and end.
void chunk_list::add_to_runs(chunk_kind kind, uint64_t end) {
    const bool memory = kind == chunk_kind::memory;
    const auto of_run = memory ? chunk_kind::rows : kind;
    if (of_run != chunk_kind::rows || runs_.empty() || runs_.back().kind != of_run) {
        runs_.push_back({of_run, next_, end});
    }
    runs_.back().end = end;
    runs_.back().memory |= memory;
    next_ = end;
}

void chunk_list::walk() {
    state_            = {};
    uint64_t released = next_;  // the headers lie far apart, and the kernel maps many pages around each
    while (next_ < file_.size()) {
        const uint64_t left = file_.size() - next_;
        chunk_header   h;
        if (left < sizeof(h)) {
            state_ = {damage::kind::cut, next_, left, "the file ends inside a chunk's header"};
            return;
        }
        std::memcpy(&h, file_.data() + next_, sizeof(h));
        if (!header_is_whole(h)) {
            state_ = {damage::kind::broken, next_, left, "a chunk's header is damaged"};
            return;
        }
        const uint64_t body = left - sizeof(h);
        if (h.size > body || padded(h.size, 8) > body) {
            state_ = {damage::kind::cut, next_, left, "the file ends inside a chunk"};
            return;
        }
        add_to_runs(static_cast<chunk_kind>(h.kind), next_ + sizeof(h) + padded(h.size, 8));
        file_.release_before(next_, released);
    }
    file_.release(released, next_ - released);
}

void throw_broken(const chunk_list & list, uint64_t offset, const std::string & reason) {
    throw error("damaged trace: " + reason)
        .in(list.file().path(), static_cast<int64_t>(offset))
        .fix("'moescope check' says what can be saved");
}

}  // namespace moescope::trace
