#include "prune/keep_for_size.hpp"

#include <vector>

#include <fmt/format.h>

#include "core/error.hpp"
#include "prune/expert_choice.hpp"
#include "prune/plan.hpp"
#include "prune/writer.hpp"

namespace moescope::prune {

namespace {

// Of the file, whichever n experts stay: lists of ids are as long as the longest ids make them.
uint64_t largest_size(const gguf::model_file & model, uint32_t n) {
    prune_request any;
    any.criterion         = prune_criterion::random;
    any.n_keep            = n;
    const prune_plan plan = plan_prune(model, any);
    return pruned_size(model, plan, {std::string(64, ' '), std::string(256, ' '), 0}) +
           plan.layers.size() * n * std::to_string(plan.shape.n_expert).size();
}

// Ascending. None where the model cannot be pruned at all.
std::vector<uint32_t> possible_counts(const gguf::moe_shape & shape) {
    std::vector<uint32_t> counts;
    const uint32_t        step = expert_count_step(shape);
    for (uint32_t n = step; n < shape.n_expert; n += step) {
        try {
            check_expert_count(shape, n);
            counts.push_back(n);
        } catch (const error &) {
            continue;  // too few for this router
        }
    }
    return counts;
}

std::string in_bytes(uint64_t n) {
    const double value = static_cast<double>(n);
    return n >> 30 > 0 ? fmt::format("{:.2f} GiB", value / double(1 << 30))
                       : fmt::format("{:.2f} MiB", value / double(1 << 20));
}

}  // namespace

uint32_t keep_for_size(const gguf::model_file & model, uint64_t bytes) {
    uint64_t now = 0;
    for (const gguf::model_file::part & p : model.parts()) {
        now += p.file.size();
    }
    if (now <= bytes) {
        throw error(fmt::format("the model takes {} as it is: nothing has to go", in_bytes(now))).in(model.path());
    }
    const std::vector<uint32_t> counts = possible_counts(gguf::read_moe_shape(model.metadata()));
    if (counts.empty()) {
        throw error("its router allows no smaller number of experts").in(model.path());
    }
    if (const uint64_t least = largest_size(model, counts.front()); least > bytes) {
        throw error(
            fmt::format("even with {} experts in each layer, the fewest that its router allows, it takes {}, {} "
                        "more than --size",
                        counts.front(), in_bytes(least), in_bytes(least - bytes)))
            .in(model.path());
    }
    size_t fits = 0, too_many = counts.size();  // counts[fits] fits, counts[too_many] does not
    while (too_many - fits > 1) {
        const size_t middle                                              = fits + (too_many - fits) / 2;
        (largest_size(model, counts[middle]) <= bytes ? fits : too_many) = middle;
    }
    return counts[fits];
}

}  // namespace moescope::prune
