// How a reader follows a trace through the files it rolled over into.

#include <algorithm>

#include "core/error.hpp"
#include "trace/decode.hpp"
#include "trace/pairs.hpp"
#include "trace/reader.hpp"
#include "trace/writer.hpp"  // part_path

namespace moescope::trace {

// Parses what is there, and follows the trace into its next parts.
void trace_reader::open_parts() {
    parse_new_chunks(*parts_.back());
    while (auto p = open_following_part()) {
        parts_.push_back(std::move(p));
        parse_new_chunks(*parts_.back());
    }
    info_.n_parts = static_cast<uint32_t>(parts_.size());
    info_.bytes   = 0;
    for (const auto & p : parts_) {
        info_.bytes += p->list.file().size();
    }
}

// The part behind the last one, or null. A part that does not name the next one has lost its end: going on behind it
// would leave a hole in the middle.
std::unique_ptr<trace_reader::part> trace_reader::open_following_part() {
    const std::string &      named  = parts_.back()->next;
    const std::string        folder = info_.path.substr(0, info_.path.find_last_of('/') + 1);
    std::vector<std::string> candidates;  // the files may have been renamed together
    if (!named.empty()) {
        candidates.push_back(folder + named.substr(named.find_last_of('/') + 1));
    }
    candidates.push_back(part_path(info_.path, static_cast<uint32_t>(parts_.size()) + 1));

    info_.unread_part = named.empty() ? "" : candidates.front();
    for (const std::string & path : candidates) {
        std::unique_ptr<part> p;
        try {
            p = std::make_unique<part>(path);
        } catch (const error &) {
            continue;  // no such file, or no trace
        }
        const auto & runs = p->list.runs();
        if (runs.empty() || runs.front().kind != chunk_kind::head) {
            continue;
        }
        const chunk_place head = p->list.chunk_at(runs.front().begin);
        if (!p->list.intact(head)) {
            continue;
        }
        text_pairs pairs;
        try {
            pairs = decoder(p->list.payload(head), head.size, head.offset).pairs();
        } catch (const error &) {
            continue;
        }
        if (number<uint64_t>(find(pairs, "trace_id")) != trace_id_ ||
            number<uint32_t>(find(pairs, "part")) != part_number_ + 1) {
            continue;  // a file of that name which belongs to another trace
        }
        if (named.empty()) {
            const bool used   = std::any_of(runs.begin(), runs.end(), [](const chunk_run & r) {
                return r.kind == chunk_kind::rows || r.kind == chunk_kind::counts;
            });
            info_.unread_part = used ? path : "";  // unused: it was created a moment ago
            return nullptr;
        }
        info_.unread_part.clear();
        return p;
    }
    return nullptr;
}

}  // namespace moescope::trace
