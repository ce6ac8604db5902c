#include "trace/reader.hpp"

#include <algorithm>
#include <charconv>

#include "core/error.hpp"
#include "trace/decode.hpp"
#include "trace/frame.hpp"
#include "trace/writer.hpp"   // part_path

namespace moescope::trace {

namespace {

// How much of the mapping stays resident behind the reader.
constexpr uint64_t release_behind = 32u << 20;

template <class T>
T number(const std::string & text) {
    T v{};
    std::from_chars(text.data(), text.data() + text.size(), v);   // absent or odd: 0, which means unknown
    return v;
}

const std::string & find(const text_pairs & pairs, const char * key) {
    static const std::string none;
    for (const auto & [k, v] : pairs) {
        if (k == key) {
            return v;
        }
    }
    return none;
}

[[noreturn]] void throw_broken(const chunk_list & list, uint64_t offset, const std::string & reason) {
    throw error("damaged trace: " + reason)
        .in(list.file().path(), static_cast<int64_t>(offset))
        .fix("'moescope check' says what can be saved");
}

}  // namespace

trace_reader::trace_reader(const std::string & path) {
    parts_.push_back(std::make_unique<part>(path));
    info_.path = path;
    open_parts();
}

// Parses what is there, and follows the trace into its next parts.
void trace_reader::open_parts() {
    parse_new_chunks(*parts_.back());
    for (;;) {
        const std::string next = part_path(info_.path, static_cast<uint32_t>(parts_.size()) + 1);
        std::unique_ptr<part> p;
        try {
            p = std::make_unique<part>(next);
        } catch (const error &) {
            break;   // there is none, or it is just being created
        }
        if (p->list.chunks().empty()) {
            break;
        }
        const chunk_place & head = p->list.chunks().front();
        const text_pairs    pairs = decoder(p->list.payload(head), head.size, head.offset).pairs();
        if (head.kind != chunk_kind::head || number<uint64_t>(find(pairs, "trace_id")) != trace_id_) {
            break;   // a file of that name which belongs to another trace
        }
        parts_.push_back(std::move(p));
        parse_new_chunks(*parts_.back());
    }
    info_.n_parts = static_cast<uint32_t>(parts_.size());
    info_.bytes   = 0;
    for (const auto & p : parts_) {
        info_.bytes += p->list.file().size();
    }
}

void trace_reader::parse_new_chunks(part & p) {
    const damage & state = p.list.state();
    if (state.what == damage::kind::broken) {
        throw_broken(p.list, state.offset, state.reason);
    }
    info_.lost_bytes  = state.lost;
    info_.lost_offset = state.offset;
    for (; p.parsed < p.list.chunks().size(); ++p.parsed) {
        const chunk_place & c = p.list.chunks()[p.parsed];
        p.layouts_known.push_back(static_cast<uint32_t>(p.layout_number.size()));
        if (c.kind == chunk_kind::rows) {
            continue;   // checked and read when its turn comes
        }
        if (!p.list.intact(c)) {
            throw_broken(p.list, c.offset, "a chunk's checksum does not fit");
        }
        try {
            parse_small(p, c);
        } catch (error & e) {
            throw_broken(p.list, static_cast<uint64_t>(std::max<int64_t>(e.offset(), 0)), e.what());
        }
    }
}

void trace_reader::parse_small(part & p, const chunk_place & c) {
    decoder d(p.list.payload(c), c.size, c.offset);
    switch (c.kind) {
        case chunk_kind::head: parse_head(d.pairs()); break;
        case chunk_kind::model: parse_model(d.pairs()); break;
        case chunk_kind::end: parse_end(d.pairs()); break;
        case chunk_kind::note: info_.notes.emplace_back(reinterpret_cast<const char *>(d.take(c.size)), c.size); break;
        case chunk_kind::pieces:
            while (!d.done()) {
                const auto token = d.value<int32_t>();
                pieces_[token]   = d.text();
            }
            break;
        case chunk_kind::layout: {
            std::vector<uint32_t> value_bytes;
            graph_layout          layout = read_layout(d, value_bytes);
            const auto it = std::find(layouts_.begin(), layouts_.end(), layout);
            p.layout_number.push_back(static_cast<uint32_t>(it - layouts_.begin()));
            if (it == layouts_.end()) {
                layouts_.push_back(std::move(layout));
                value_bytes_.push_back(std::move(value_bytes));
            }
            break;
        }
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
        default: break;   // written by a newer moescope; what it adds is not needed to read the rest
    }
}

void trace_reader::parse_head(const text_pairs & pairs) {
    const uint64_t id = number<uint64_t>(find(pairs, "trace_id"));
    trace_id_             = id;
    info_.writer_version  = find(pairs, "moescope");
    info_.program         = find(pairs, "program");
    info_.pid             = number<int64_t>(find(pairs, "pid"));
    info_.stream          = std::max(1u, number<uint32_t>(find(pairs, "stream")));
    info_.started_unix_ns = number<uint64_t>(find(pairs, "started_unix_ns"));
    info_.captured        = find(pairs, "captured");
    info_.counts_only     = find(pairs, "mode") == "counts";
}

void trace_reader::parse_model(const text_pairs & pairs) {
    model_.architecture  = find(pairs, "architecture");
    model_.name          = find(pairs, "name");
    model_.file          = find(pairs, "file");
    model_.file_size     = number<uint64_t>(find(pairs, "file_size"));
    model_.n_layer       = number<uint32_t>(find(pairs, "n_layer"));
    model_.n_expert      = number<uint32_t>(find(pairs, "n_expert"));
    model_.n_expert_used = number<uint32_t>(find(pairs, "n_expert_used"));
    model_.n_embd        = number<uint32_t>(find(pairs, "n_embd"));
    model_.n_vocab       = number<uint32_t>(find(pairs, "n_vocab"));
    model_.metadata.clear();
    for (const auto & [key, value] : pairs) {
        if (key.rfind("meta.", 0) == 0) {
            model_.metadata.emplace_back(key.substr(5), value);
        }
    }
}

void trace_reader::parse_end(const text_pairs & pairs) {
    if (!find(pairs, "next").empty()) {
        return;   // only this part ends here
    }
    info_.ended      = true;
    info_.end_reason = find(pairs, "reason");
    info_.run_ns     = number<uint64_t>(find(pairs, "run_ns"));
    info_.capture_ns = number<uint64_t>(find(pairs, "capture_ns"));
}

graph_layout trace_reader::blocks() const {
    graph_layout all;
    for (const graph_layout & layout : layouts_) {
        for (const block_layout & b : layout) {
            const auto it = std::find_if(all.begin(), all.end(), [&](const block_layout & o) {
                return o.layer == b.layer && o.block == b.block;
            });
            if (it == all.end()) {
                all.push_back(b);
            } else {
                it->columns = it->columns | b.columns;
            }
        }
    }
    std::stable_sort(all.begin(), all.end(), [](const block_layout & a, const block_layout & b) {
        return std::pair(a.layer, a.block) < std::pair(b.layer, b.block);
    });
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
    return next_at(at_, u, blocks_, floats_);
}

void trace_reader::rewind() {
    at_ = {};
}

bool trace_reader::next_at(position & at, routed_ubatch & u, std::vector<block_rows> & blocks,
                           std::vector<float> & floats) const {
    for (; at.part < parts_.size(); ++at.part, at.chunk = 0, at.byte = 0, at.checked = false) {
        const part & p = *parts_[at.part];
        for (; at.chunk < p.parsed; ++at.chunk, at.byte = 0, at.checked = false) {
            const chunk_place & c = p.list.chunks()[at.chunk];
            if (c.kind != chunk_kind::rows || at.byte == c.size) {
                continue;
            }
            if (!at.checked) {
                if (!p.list.intact(c)) {
                    throw_broken(p.list, c.offset, "a chunk's checksum does not fit");
                }
                at.checked = true;
                if (c.offset > release_behind) {
                    p.list.file().release(0, c.offset - release_behind);
                }
            }
            try {
                read_frame(p, c, at, u, blocks, floats);
            } catch (error & e) {
                throw_broken(p.list, static_cast<uint64_t>(std::max<int64_t>(e.offset(), 0)), e.what());
            }
            return true;
        }
        if (at.part + 1 == parts_.size()) {
            return false;   // keep the position: the trace may grow
        }
    }
    return false;
}

void trace_reader::read_frame(const part & p, const chunk_place & c, position & at, routed_ubatch & u,
                              std::vector<block_rows> & blocks, std::vector<float> & floats) const {
    decoder            d(p.list.payload(c) + at.byte, c.size - at.byte, c.offset + at.byte);
    const frame_header h = d.value<frame_header>();
    if (h.size < sizeof(h) || h.size > c.size - at.byte || h.layout >= p.layouts_known[at.chunk]) {
        d.fail("a frame that cannot be");
    }
    const uint32_t layout = p.layout_number[h.layout];
    u         = {};
    u.time_ns = h.time_ns;
    u.batch   = h.batch;
    u.access  = h.access == 0 || h.access > p.access_number.size() ? 0 : p.access_number[h.access - 1];
    u.layout  = &layouts_[layout];
    decoder body(p.list.payload(c) + at.byte + sizeof(h), h.size - sizeof(h), c.offset + at.byte + sizeof(h));
    read_frame_body(body, h, layouts_[layout], value_bytes_[layout], u, blocks, floats);
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
    expert_counts           all;
    position                at;
    std::vector<block_rows> blocks;
    std::vector<float>      floats;
    for (routed_ubatch u; next_at(at, u, blocks, floats);) {
        all.add(u);
    }
    return all;
}

}  // namespace moescope::trace
