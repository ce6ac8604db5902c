#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "core/layer_filter.hpp"
#include "core/routing.hpp"
#include "core/ubatch_buffer.hpp"
#include "trace/read_through.hpp"

namespace moescope::analysis {

struct row_choice {
    layer_filter         layers;
    std::optional<phase> only;  // rows of this phase; rows of unknown tokens belong to neither

    bool everything() const { return layers.all() && !only; }
};

// Hands on the chosen blocks and rows of each ubatch, so that every analysis can be asked about some layers or about
// decoded tokens alone. Tokens stay as they are; rows are copied only where a ubatch mixes phases.
class row_filter final : public routing_sink {
public:
    row_filter(row_choice choice, routing_sink & next) : choice_(std::move(choice)), next_(next) {}

    void model(const model_info & m) override { next_.model(m); }
    void ubatch(const routed_ubatch & u) override;

private:
    void keep_phase(const routed_ubatch & u);  // leaves the chosen rows of blocks_
    void copy_chosen(const block_rows & rows, const routed_ubatch & u);

    row_choice              choice_;
    routing_sink &          next_;
    graph_layout            layout_;
    std::vector<block_rows> blocks_;
    std::vector<uint32_t>   chosen_;  // rows of a block
    ubatch_buffer           copied_;  // blocks of which only some rows are handed on
};

// trace::read_through() of the chosen rows alone.
bool read_rows(trace::trace_source & source, const row_choice & choice, const std::vector<routing_sink *> & sinks,
               const trace::read_progress & progress = {});

}  // namespace moescope::analysis
