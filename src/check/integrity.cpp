#include "check/integrity.hpp"

#include "core/error.hpp"
#include "trace/decode.hpp"
#include "trace/pairs.hpp"

namespace moescope::check {

namespace {

void count_frames(const trace::chunk_list & list, const trace::chunk_place & c, part_integrity & p) {
    for (uint64_t at = 0; at < c.size;) {
        const auto h = trace::decoder(list.payload(c) + at, c.size - at, c.offset + at).value<trace::frame_header>();
        if (h.size < sizeof(h) || h.size > c.size - at) {
            throw error("an impossible frame").in({}, static_cast<int64_t>(c.offset + at));
        }
        p.ubatches += 1;
        p.tokens += h.n_tokens;
        at += h.size;
    }
}

void read_end(const trace::chunk_list & list, const trace::chunk_place & c, part_integrity & p) {
    const trace::text_pairs pairs = trace::decoder(list.payload(c), c.size, c.offset).pairs();
    p.goes_on                     = !trace::find(pairs, "next").empty();
    p.has_end                     = true;
    p.end_ubatches                = trace::number<uint64_t>(trace::find(pairs, "ubatches"));
    p.end_tokens                  = trace::number<uint64_t>(trace::find(pairs, "tokens"));
}

void read_counts_head(const trace::chunk_list & list, const trace::chunk_place & c, part_integrity & p) {
    const auto h = trace::decoder(list.payload(c), c.size, c.offset).value<trace::counts_header>();
    p.ubatches   = h.ubatches;  // cumulative: the last one stands
    p.tokens     = h.tokens;
}

}  // namespace

part_integrity check_part(const std::string & path) {
    const trace::chunk_list list(path);
    part_integrity          p;
    p.path          = path;
    p.bytes         = list.file().size();
    p.whole_bytes   = sizeof(trace::file_header);
    p.state         = list.state();
    p.stopped       = list.stopped();
    const auto stop = [&](uint64_t offset, const std::string & reason) {
        p.state = {trace::damage::kind::broken, offset, p.bytes - p.whole_bytes, reason};
        return p;
    };
    // The runs lie one behind the other: from chunk to chunk through all of them.
    const uint64_t end      = list.runs().empty() ? p.whole_bytes : list.runs().back().end;
    uint64_t       released = 0;
    for (uint64_t at = p.whole_bytes; at < end; at = p.whole_bytes) {
        const trace::chunk_place c = list.chunk_at(at);
        if (!list.intact(c)) {
            return stop(c.offset, "a chunk's checksum does not match");
        }
        try {
            switch (c.kind) {
                case trace::chunk_kind::rows: count_frames(list, c, p); break;
                case trace::chunk_kind::counts: read_counts_head(list, c, p); break;
                case trace::chunk_kind::end: read_end(list, c, p); break;
                default: break;
            }
        } catch (const error & e) {
            return stop(static_cast<uint64_t>(e.offset()), e.reason());
        }
        p.whole_bytes = trace::chunk_list::next_of(c);
        list.file().release_before(p.whole_bytes, released);
        p.n_chunks += 1;
    }
    return p;
}

}  // namespace moescope::check
