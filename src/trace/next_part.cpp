#include "trace/next_part.hpp"

#include <algorithm>
#include <vector>

#include "core/error.hpp"
#include "io/path.hpp"
#include "trace/decode.hpp"
#include "trace/pairs.hpp"

namespace moescope::trace {

namespace {

// Where the part may lie: the files may have been renamed together.
std::vector<std::string> candidates_for(const read_so_far & trace) {
    std::vector<std::string> paths;
    if (!trace.next.empty()) {
        paths.push_back(io::folder_of(trace.path) + io::base_name(trace.next));
    }
    paths.push_back(part_path(trace.path, trace.n_parts + 1));
    return paths;
}

// The file's chunks if it is the part that comes next.
std::optional<chunk_list> open_as_next(const std::string & path, const read_so_far & trace) {
    std::optional<chunk_list> chunks;
    text_pairs                pairs;
    try {
        chunks.emplace(path);
        if (chunks->runs().empty() || chunks->runs().front().kind != chunk_kind::head) {
            return {};
        }
        const chunk_place head = chunks->chunk_at(chunks->runs().front().begin);
        if (!chunks->intact(head)) {
            return {};
        }
        pairs = decoder(chunks->payload(head), head.size, head.offset).pairs();
    } catch (const error &) {
        return {};  // no such file, or no trace
    }
    const bool next = number<uint64_t>(find(pairs, "trace_id")) == trace.trace_id &&
                      number<uint32_t>(find(pairs, "part")) == trace.part_number + 1;
    return next ? std::move(chunks) : std::nullopt;  // else a file of that name which belongs to another trace
}

}  // namespace

next_part open_next_part(const read_so_far & trace) {
    const std::vector<std::string> candidates = candidates_for(trace);
    for (const std::string & path : candidates) {
        std::optional<chunk_list> chunks = open_as_next(path, trace);
        if (!chunks) {
            continue;
        }
        if (trace.next.empty()) {
            const auto & runs = chunks->runs();
            const bool   used = std::any_of(runs.begin(), runs.end(), [](const chunk_run & r) {
                return r.kind == chunk_kind::rows || r.kind == chunk_kind::counts;
            });
            return {std::nullopt, used ? path : ""};  // unused: it was created a moment ago
        }
        return {std::move(chunks), ""};
    }
    return {std::nullopt, trace.next.empty() ? "" : candidates.front()};
}

}  // namespace moescope::trace
