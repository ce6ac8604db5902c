#include "prune/expert_choice.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "core/error.hpp"

namespace moescope::prune {

namespace {

uint32_t n_groups(const gguf::moe_shape & shape) {
    return std::max(1u, shape.n_expert_groups);
}
uint32_t chunk_size(const gguf::moe_shape & shape) {
    return std::max(1u, shape.experts_per_chunk);
}

// Experts that stay or go together.
struct unit {
    int32_t first        = 0;
    double  score        = 0;
    bool    is_protected = false;
};

std::vector<unit> units_of_group(const gguf::moe_shape & shape, uint32_t group, const std::vector<double> & scores,
                                 const std::vector<bool> & is_protected) {
    const uint32_t    per_group = shape.n_expert / n_groups(shape), size = chunk_size(shape);
    std::vector<unit> units;
    for (uint32_t first = group * per_group; first < (group + 1) * per_group; first += size) {
        unit u;
        u.first = static_cast<int32_t>(first);
        for (uint32_t e = first; e < first + size; ++e) {
            u.score += scores[e];
            u.is_protected = u.is_protected || is_protected[e];
        }
        units.push_back(u);
    }
    return units;
}

}  // namespace

uint32_t expert_count_step(const gguf::moe_shape & shape) {
    return std::lcm(n_groups(shape), chunk_size(shape));
}

void check_expert_count(const gguf::moe_shape & shape, uint32_t n_keep) {
    const uint32_t k = shape.n_expert_used_max(), groups = n_groups(shape), chunk = chunk_size(shape);
    if (shape.n_expert < 2) {
        throw error("not a mixture of experts: its metadata name no experts");
    }
    if (k == 0) {
        throw error("the metadata do not say how many experts a token uses");
    }
    if (shape.n_expert % groups != 0 || shape.n_expert % chunk != 0 || (shape.n_expert / groups) % chunk != 0) {
        throw error(
            fmt::format("{} experts do not divide into {} groups and chunks of {}", shape.n_expert, groups, chunk));
    }
    if (n_keep > shape.n_expert) {
        throw error(fmt::format("cannot keep {} experts of {}", n_keep, shape.n_expert));
    }
    if (n_keep < std::max(k, 2u)) {
        throw error(fmt::format("cannot keep {} experts: a token uses {}", n_keep, k))
            .fix(fmt::format("keep at least {}", std::max(k, 2u)));
    }
    const uint32_t step = expert_count_step(shape);
    if (n_keep % step != 0) {
        throw error(groups > 1
                        ? fmt::format("the router selects among {} groups of equal size, so {} experts cannot be kept",
                                      groups, n_keep)
                        : fmt::format("{} experts share a chunk expert and stay or go together, so {} experts "
                                      "cannot be kept",
                                      chunk, n_keep))
            .fix(fmt::format("keep a multiple of {}", step));
    }
    const uint32_t per_group = n_keep / groups;
    if (groups > 1 && (per_group < 2 || shape.n_group_used * per_group < k)) {
        throw error(
            fmt::format(
                "keeping {} experts leaves {} in each of {} groups, but the router rates a group by its best two and "
                "takes {} experts from {} groups",
                n_keep, per_group, groups, k, shape.n_group_used))
            .fix(fmt::format("keep at least {}",
                             groups * std::max(2u, (k + shape.n_group_used - 1) / std::max(1u, shape.n_group_used))));
    }
    if (n_keep / chunk < std::min(k, shape.n_expert / chunk)) {
        throw error(
            fmt::format("keeping {} experts leaves {} chunk experts, but a token uses {}", n_keep, n_keep / chunk, k))
            .fix(fmt::format("keep at least {}", k * chunk));
    }
    if (shape.arch == "llama4" && (shape.n_expert == 128) != (n_keep == 128)) {
        throw error("llama.cpp recognises Llama 4 Maverick by its 128 experts, and with any other number it would "
                    "normalise queries and keys, which that model does not do");
    }
}

std::vector<int32_t> choose_experts(const gguf::moe_shape & shape, uint32_t n_keep, const std::vector<double> & scores,
                                    const std::vector<bool> & is_protected) {
    const uint32_t       groups = n_groups(shape), chunk = chunk_size(shape);
    const size_t         n_units = n_keep / groups / chunk;  // that stay in each group
    std::vector<int32_t> kept;
    for (uint32_t group = 0; group < groups; ++group) {
        std::vector<unit> units = units_of_group(shape, group, scores, is_protected);
        const auto        n_protected =
            std::count_if(units.begin(), units.end(), [](const unit & u) { return u.is_protected; });
        if (static_cast<size_t>(n_protected) > n_units) {
            throw error(groups > 1 ? fmt::format("more experts of group {} are protected than the {} that can stay",
                                                 group, n_units * chunk)
                                   : fmt::format("more experts are protected than the {} that can stay", n_keep));
        }
        std::stable_sort(units.begin(), units.end(), [](const unit & a, const unit & b) {
            return a.is_protected != b.is_protected ? a.is_protected : a.score > b.score;
        });
        for (size_t i = 0; i < n_units; ++i) {
            for (uint32_t j = 0; j < chunk; ++j) {
                kept.push_back(units[i].first + static_cast<int32_t>(j));
            }
        }
    }
    std::sort(kept.begin(), kept.end());
    return kept;
}

void check_chosen_ids(const gguf::moe_shape & shape, const std::vector<int32_t> & ids, int layer) {
    std::vector<bool> is_kept(shape.n_expert, false);
    for (const int32_t id : ids) {
        if (id < 0 || static_cast<uint32_t>(id) >= shape.n_expert || is_kept[static_cast<size_t>(id)]) {
            throw error(
                fmt::format("layer {}: expert {} is not one of {}, or is listed twice", layer, id, shape.n_expert));
        }
        is_kept[static_cast<size_t>(id)] = true;
    }
    // Those kept, protected or not, are what is left when each group may only keep its share and chunks stay whole.
    const std::vector<double> scores(is_kept.begin(), is_kept.end());
    const auto                possible =
        choose_experts(shape, static_cast<uint32_t>(ids.size()), scores, std::vector<bool>(shape.n_expert, false));
    for (const int32_t id : possible) {
        if (!is_kept[static_cast<size_t>(id)]) {
            throw error(fmt::format("layer {}: the kept experts do not leave the same number in each of {} groups",
                                    layer, std::max(n_groups(shape), shape.n_expert / chunk_size(shape))));
        }
    }
}

}  // namespace moescope::prune
