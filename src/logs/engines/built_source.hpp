#pragma once

#include <memory>
#include <string>

#include "core/ubatch_buffer.hpp"
#include "trace/source.hpp"

namespace moescope::logs {

// Files of other engines as sources: ubatches that are built one by one from what is mapped or parsed.
class built_source : public trace::trace_source {
public:
    const trace::trace_info & info() const final { return info_; }
    const model_info &        model() const final { return model_; }
    graph_layout              blocks() const final { return blocks_; }
    bool                      next(routed_ubatch & u) final;
    void                      rewind() override { n_built_ = 0; }

protected:
    // format: as `info` shows it, "vllm".
    built_source(const std::string & path, const char * format);

    // Fills the empty buffer with the ubatch that comes next, numbered from 0; false at the end.
    virtual bool build(uint64_t number, ubatch_buffer & to) = 0;

    // Call once the constructor knows all layers.
    void set_blocks(graph_layout blocks);
    void note(const std::string & text) { info_.notes.push_back(text); }

private:
    trace::trace_info info_;
    model_info        model_;
    graph_layout      blocks_;
    ubatch_buffer     built_;
    uint64_t          n_built_ = 0;
};

// A file that has counts alone.
class counted_source final : public trace::trace_source {
public:
    counted_source(const std::string & path, const char * format, expert_counts counts, std::vector<std::string> notes);

    const trace::trace_info & info() const override { return info_; }
    const model_info &        model() const override { return model_; }
    graph_layout              blocks() const override { return counts_.layout; }
    const expert_counts *     stored_counts() const override { return &counts_; }
    bool                      next(routed_ubatch &) override { return false; }
    void                      rewind() override {}

private:
    trace::trace_info info_;
    model_info        model_;
    expert_counts     counts_;
};

// No model has so many; a file that says otherwise would make tables of any size.
inline constexpr int64_t most_experts = 1 << 16;

}  // namespace moescope::logs
