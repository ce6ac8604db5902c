#pragma once

#include <cstdint>
#include <vector>

#include "report/page_data.hpp"
#include "trace/source.hpp"

namespace moescope::report {

// Collects a stretch of tokens out of ubatches that come in order.
class tile_builder final : public routing_sink {
public:
    // first: number of the first token wanted; max_tokens: how many at most. blocks: of the run, by layer and block.
    // n_before: tokens of the run before the first ubatch that comes.
    tile_builder(uint64_t first, uint64_t max_tokens, const graph_layout & blocks, uint64_t n_before = 0);

    void ubatch(const routed_ubatch & u) override;
    bool full() const { return tile_.size() >= max_tokens_; }

    // The tile, with the texts of its tokens where `source` is given and knows them.
    token_tile finish(const trace::trace_source * source);

private:
    void add_rows(const block_rows & rows, uint32_t skip, uint32_t n, size_t base);

    uint64_t             max_tokens_, n_before_;
    graph_layout         blocks_;
    std::vector<uint8_t> missing_;  // [block] some token has no row
    token_tile           tile_;
};

// Tokens that fit a page of about `bytes` bytes before compression.
uint64_t tokens_that_fit(const graph_layout & blocks, uint64_t bytes);

}  // namespace moescope::report
