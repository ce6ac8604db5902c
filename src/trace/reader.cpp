#include "trace/reader.hpp"

#include <algorithm>

#include "core/block_table.hpp"
#include "core/error.hpp"
#include "trace/decode.hpp"
#include "trace/frame.hpp"
#include "trace/next_part.hpp"
#include "trace/pairs.hpp"

namespace moescope::trace {

trace_reader::trace_reader(const std::string & path) {
    parts_.push_back(std::make_unique<part>(chunk_list(path)));
    info_.path               = path;
    const chunk_list & first = parts_.front()->list;
    if (first.runs().empty() && first.state().what != damage::kind::broken) {
        throw error("the trace ends before its head: there is nothing to read").in(path);
    }
    if (!first.runs().empty() && first.runs().front().kind != chunk_kind::head) {
        throw_broken(first, sizeof(file_header), "it does not begin with a head");
    }
    open_parts();
}

// Parses what is there, and follows the trace into its next parts.
void trace_reader::open_parts() {
    do {
        parse_new_chunks(*parts_.back());
    } while (open_following_part());
    info_.n_parts = static_cast<uint32_t>(parts_.size());
    info_.bytes   = 0;
    for (const auto & p : parts_) {
        info_.bytes += p->list.file().size();
    }
}

bool trace_reader::open_following_part() {
    next_part next = open_next_part(
        {info_.path, trace_id_, part_number_, static_cast<uint32_t>(parts_.size()), parts_.back()->next});
    info_.unread_part = next.unread_part;
    if (!next.chunks) {
        return false;
    }
    parts_.back()->list.settle();  // so that a run of many parts does not hold as many descriptors
    parts_.push_back(std::make_unique<part>(std::move(*next.chunks)));
    return true;
}

void trace_reader::parse_new_chunks(part & p) {
    const damage & state = p.list.state();
    if (state.what == damage::kind::broken) {
        throw_broken(p.list, state.offset, state.reason);
    }
    info_.lost_bytes  = state.lost;
    info_.lost_offset = state.offset;
    if (p.parsed > 0) {
        memory_.read_on(p.list, p.list.runs()[p.parsed - 1], p.memory_read);  // it may have grown
    }
    uint64_t released = 0;
    for (; p.parsed < p.list.runs().size(); ++p.parsed) {
        const chunk_run & run = p.list.runs()[p.parsed];
        p.layouts_known.push_back(static_cast<uint32_t>(p.layout_number.size()));
        if (run.kind == chunk_kind::rows) {
            memory_.read_on(p.list, run, p.memory_read);
            continue;  // rows are checked and read when their turn comes
        }
        const chunk_place c = p.list.chunk_at(run.begin);
        if (!p.list.intact(c)) {
            throw_broken(p.list, c.offset, "a chunk's checksum does not match");
        }
        p.list.file().release_before(c.offset, released);
        try {
            parse_small(p, c);
        } catch (error & e) {
            throw_broken(p.list, static_cast<uint64_t>(std::max<int64_t>(e.offset(), 0)), e.reason());
        }
    }
    info_.taken_back = memory_.taken_back();
    info_.removed    = memory_.removed();
}

void trace_reader::parse_small(part & p, const chunk_place & c) {
    decoder d(p.list.payload(c), c.size, c.offset);
    switch (c.kind) {
        case chunk_kind::head: {
            const text_pairs pairs = d.pairs();
            p.first_ubatch         = number<uint64_t>(find(pairs, "ubatches_before"));
            parse_head(pairs);
            break;
        }
        case chunk_kind::model: model_ = read_model(d.pairs()); break;
        case chunk_kind::end: parse_end(p, d.pairs()); break;
        case chunk_kind::note: info_.notes.emplace_back(reinterpret_cast<const char *>(d.take(c.size)), c.size); break;
        case chunk_kind::pieces:
            while (!d.done()) {
                const auto token = d.value<int32_t>();
                pieces_[token]   = d.text();
            }
            break;
        case chunk_kind::layout: parse_layout(p, d); break;
        case chunk_kind::access: {
            access_list list = read_access(d);
            const auto  it   = std::find(access_lists_.begin(), access_lists_.end(), list);
            p.access_number.push_back(static_cast<uint32_t>(it - access_lists_.begin()) + 1);
            if (it == access_lists_.end()) {
                access_lists_.push_back(std::move(list));
            }
            break;
        }
        case chunk_kind::counts: {
            const auto h = d.value<counts_header>();
            if (h.layout >= p.layout_number.size()) {
                d.fail("counts of an unknown layout");
            }
            stored_counts_ = read_counts(d, h, layouts_[p.layout_number[h.layout]]);
            break;
        }
        default: break;  // written by a newer moescope; what it adds is not needed to read the rest
    }
}

void trace_reader::parse_layout(part & p, decoder & d) {
    std::vector<uint32_t> value_bytes;
    graph_layout          layout = read_layout(d, value_bytes);
    size_t                number = 0;
    while (number < layouts_.size() && (layouts_[number] != layout || value_bytes_[number] != value_bytes)) {
        ++number;
    }
    p.layout_number.push_back(static_cast<uint32_t>(number));
    if (number < layouts_.size()) {
        return;
    }
    for (const block_layout & b : layout) {
        if (n_expert_.emplace(b.id(), b.n_expert).first->second != b.n_expert) {
            d.fail("a layer whose number of experts changes");
        }
    }
    layouts_.push_back(std::move(layout));
    value_bytes_.push_back(std::move(value_bytes));
}

void trace_reader::parse_head(const text_pairs & pairs) {
    const uint64_t id     = number<uint64_t>(find(pairs, "trace_id"));
    trace_id_             = id;
    info_.writer_version  = find(pairs, "moescope");
    info_.program         = find(pairs, "program");
    info_.pid             = number<int64_t>(find(pairs, "pid"));
    part_number_          = std::max(1u, number<uint32_t>(find(pairs, "part")));
    info_.stream          = std::max(1u, number<uint32_t>(find(pairs, "stream")));
    info_.started_unix_ns = number<uint64_t>(find(pairs, "started_unix_ns"));
    info_.captured        = find(pairs, "captured");
    info_.mask            = find(pairs, "mask");
    info_.left_out        = find(pairs, "left_out");
    info_.counts_only     = find(pairs, "mode") == "counts";
    if (parts_.size() == 1 && !info_.mask.empty()) {
        info_.notes.push_back("the routers were masked (" + info_.mask + "): this is not the model's own routing");
    }
    if (parts_.size() == 1 && !info_.left_out.empty()) {
        info_.notes.push_back(info_.left_out == "text" ? "the texts of tokens were left out when this was recorded"
                                                       : "tokens, ids and texts, were left out when this was recorded");
    }
    if (parts_.size() == 1 && part_number_ > 1) {
        info_.first_part = part_number_;
        info_.notes.push_back("this is part " + std::to_string(part_number_) +
                              " of a trace; the parts before it are not read");
    }
}

void trace_reader::parse_end(part & p, const text_pairs & pairs) {
    if (!find(pairs, "next").empty()) {
        p.next = find(pairs, "next");  // only this part ends here
        return;
    }
    info_.ended      = true;
    info_.end_reason = find(pairs, "reason");
    info_.run_ns     = number<uint64_t>(find(pairs, "run_ns"));
    info_.capture_ns = number<uint64_t>(find(pairs, "capture_ns"));
    info_.compute_ns = number<uint64_t>(find(pairs, "compute_ns"));
}

graph_layout trace_reader::blocks() const {
    graph_layout all;
    for (const graph_layout & layout : layouts_) {
        for (const block_layout & b : layout) {
            const size_t i = find_block(all, b, all.size());
            if (i == all.size()) {
                all.push_back(b);
            } else {
                all[i].columns = all[i].columns | b.columns;
            }
        }
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const block_layout & a, const block_layout & b) { return a.id() < b.id(); });
    return all;
}

const std::string * trace_reader::piece(int32_t token) const {
    const auto it = pieces_.find(token);
    return it == pieces_.end() ? nullptr : &it->second;
}

const expert_counts * trace_reader::stored_counts() const {
    return info_.counts_only ? &stored_counts_ : nullptr;
}

bool trace_reader::next(routed_ubatch & u) {
    return next_at(at_, u, views_);
}

std::vector<std::string> trace_reader::part_paths() const {
    std::vector<std::string> paths;
    for (const auto & p : parts_) {
        paths.push_back(p->list.file().path());
    }
    return paths;
}

void trace_reader::rewind() {
    at_ = {};
}

void trace_reader::seek(const position & to) {
    at_          = to;
    at_.checked  = false;
    at_.released = to.chunk;
    for (const auto & p : parts_) {  // what was read elsewhere need not stay
        p->list.file().release(0, p->list.file().size());
    }
}

bool trace_reader::next_at(position & at, routed_ubatch & u, frame_views & views) const {
    for (; at.part < parts_.size(); at = {at.part + 1, 0, 0, 0, false, 0, 0, at.event}) {
        const part & p = *parts_[at.part];
        for (; at.run < p.parsed; at = {at.part, at.run + 1, 0, 0, false, at.released, at.ubatch, at.event}) {
            if (next_in_run(p, at, u, views)) {
                return true;
            }
            if (at.run + 1 == p.parsed && p.list.runs()[at.run].kind == chunk_kind::rows) {
                break;  // keep the position: the run may grow
            }
        }
        if (at.part + 1 == parts_.size()) {
            return false;  // keep the position: the trace may grow
        }
        p.list.file().release(0, p.list.file().size());
    }
    return false;
}

bool trace_reader::next_in_run(const part & p, position & at, routed_ubatch & u, frame_views & views) const {
    const chunk_run & run = p.list.runs()[at.run];
    if (run.kind != chunk_kind::rows) {
        return false;
    }
    at.chunk = std::max(at.chunk, run.begin);
    while (at.chunk < run.end) {
        const chunk_place c = p.list.chunk_at(at.chunk);
        if (at.byte == c.size || c.kind != chunk_kind::rows) {
            at.chunk   = chunk_list::next_of(c);
            at.byte    = 0;
            at.checked = false;
            continue;
        }
        if (!at.checked) {
            check_chunk(p, c, at);
        }
        try {
            read_frame(p, c, at, u, views);
        } catch (error & e) {
            throw_broken(p.list, static_cast<uint64_t>(std::max<int64_t>(e.offset(), 0)), e.reason());
        }
        const uint64_t number = p.first_ubatch + at.ubatch;
        at.ubatch += 1;
        if (!info_.taken_back_included && !memory_.leave_out_of(u, number, views.kept)) {
            continue;
        }
        take_events(number, at, views.events);
        u.memory = {views.events.data(), views.events.size()};
        return true;
    }
    return false;
}

// The events before the ubatch of this number. A writer puts them before the chunk that the ubatch is in.
void trace_reader::take_events(uint64_t number, position & at, std::vector<memory_event> & events) const {
    position::event_place & e = at.event;
    for (events.clear(); e.part < at.part; e = {e.part + 1, 0, 0}) {
        const chunk_list & earlier = parts_[e.part]->list;
        if (!take_events_before(earlier, earlier.runs().back().end, number, e, events)) {
            return;
        }
    }
    take_events_before(parts_[e.part]->list, at.chunk, number, e, events);
}

void trace_reader::check_chunk(const part & p, const chunk_place & c, position & at) const {
    if (!p.list.intact(c)) {
        throw_broken(p.list, c.offset, "a chunk's checksum does not match");
    }
    at.checked = true;
    p.list.file().read_on(c.offset, at.released);
}

void trace_reader::read_frame(const part & p, const chunk_place & c, position & at, routed_ubatch & u,
                              frame_views & views) const {
    decoder            d(p.list.payload(c) + at.byte, c.size - at.byte, c.offset + at.byte);
    const frame_header h = d.value<frame_header>();
    if (h.size < sizeof(h) || h.size % frame_alignment != 0 || h.size > c.size - at.byte ||
        h.layout >= p.layouts_known[at.run] || h.access > p.access_number.size()) {
        d.fail("an impossible frame");
    }
    const uint32_t layout = p.layout_number[h.layout];
    u                     = {};
    u.time_ns             = h.time_ns;
    u.batch               = h.batch;
    u.access              = h.access == 0 ? 0 : p.access_number[h.access - 1];
    u.layout              = &layouts_[layout];
    decoder body(p.list.payload(c) + at.byte + sizeof(h), h.size - sizeof(h), c.offset + at.byte + sizeof(h));
    read_frame_body(body, h, layouts_[layout], value_bytes_[layout], u, views);
    at.byte += h.size;
}

bool trace_reader::refresh() {
    const size_t   part_before  = parts_.size();
    const uint64_t bytes_before = info_.bytes;
    if (parts_.back()->list.refresh()) {
        parse_new_chunks(*parts_.back());
    }
    open_parts();
    return parts_.size() > part_before || info_.bytes > bytes_before;
}

expert_counts trace_reader::counts() const {
    if (info_.counts_only) {
        return stored_counts_;
    }
    expert_counts all;
    position      at;
    frame_views   views;
    for (routed_ubatch u; next_at(at, u, views);) {
        all.add(u);
    }
    return all;
}

}  // namespace moescope::trace
