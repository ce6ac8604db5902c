#pragma once

#include <cstdint>
#include <vector>

#include "analysis/cache.hpp"
#include "gguf/model_file.hpp"
#include "reorder/plan.hpp"

namespace moescope::reorder {

// How a file is read from a disk: in pages, and as one read where less than the read-ahead lies between.
struct read_habit {
    uint64_t page      = 4096;  // bytes
    uint64_t readahead = 0;     // bytes between two slices that are read along rather than skipped
};

struct read_sums {
    uint64_t reads = 0;  // stretches
    uint64_t bytes = 0;  // in whole pages, what is read along included
};

// An order for each half of a trace's ubatches, so that one can be judged on what it was not learned from.
struct judged_orders {
    expert_orders half[2];  // layers without an order keep theirs
};

// Adds up what the ubatches of a trace read of the expert matrices, with the experts in given orders. Slabs lie where the
// model's own lie, as if no header changed its length; nothing is cached from one ubatch to the next.
class slab_reads final : public routing_sink {
public:
    // counted: where the halves meet; must outlive this, as the model must.
    slab_reads(const gguf::model_file & model, const analysis::cache_counts & counted, std::vector<read_habit> habits,
               std::vector<judged_orders> orders);

    void ubatch(const routed_ubatch & u) override;

    const read_sums & sums(size_t habit, size_t order) const { return sums_[habit * orders_.size() + order]; }
    uint64_t          tokens() const { return tokens_; }

private:
    struct matrix {
        uint64_t begin = 0, slab = 0;  // in its file
    };
    struct layer {
        std::vector<matrix>                matrices;
        std::vector<std::vector<uint32_t>> place;  // [order * 2 + half][old id]; empty: as it is
    };

    void add(const layer & l, size_t half);
    void read(const matrix & m, const read_habit & habit, read_sums & sums) const;

    const analysis::cache_counts & counted_;
    std::vector<read_habit>        habits_;
    std::vector<judged_orders>     orders_;
    std::map<int, layer>           layers_;
    std::vector<read_sums>         sums_;  // [habit][order]
    uint64_t                       tokens_ = 0, ubatches_ = 0;
    std::vector<uint32_t>          ids_, places_;
};

// Old ids by new place, as places by old id.
std::vector<uint32_t> places_of(const std::vector<int32_t> & order);

}  // namespace moescope::reorder
