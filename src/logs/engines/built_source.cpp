#include "logs/engines/built_source.hpp"

#include <algorithm>
#include <filesystem>

namespace moescope::logs {

namespace {

trace::trace_info info_of(const std::string & path, const char * format) {
    std::error_code   unknown;
    trace::trace_info info;
    info.path   = path;
    info.format = format;
    info.ended  = true;
    info.bytes  = std::filesystem::file_size(path, unknown);
    return info;
}

model_info model_of(const graph_layout & blocks) {
    model_info m;
    for (const block_layout & b : blocks) {
        m.n_expert      = std::max(m.n_expert, b.n_expert);
        m.n_expert_used = std::max(m.n_expert_used, b.n_expert_used);
    }
    return m;
}

}  // namespace

built_source::built_source(const std::string & path, const char * format) : info_(info_of(path, format)) {}

void built_source::set_blocks(graph_layout blocks) {
    blocks_ = std::move(blocks);
    model_  = model_of(blocks_);
}

bool built_source::next(routed_ubatch & u) {
    built_.clear();
    if (!build(n_built_, built_)) {
        return false;
    }
    n_built_ += 1;
    u = built_.view();
    return true;
}

counted_source::counted_source(const std::string & path, const char * format, expert_counts counts,
                               std::vector<std::string> notes)
    : info_(info_of(path, format)),
      model_(model_of(counts.layout)),
      counts_(std::move(counts)) {
    info_.counts_only = true;
    info_.notes       = std::move(notes);
}

}  // namespace moescope::logs
