#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace moescope::prune {

using expert_ids_by_layer = std::map<int, std::vector<int32_t>>;  // il -> ids

inline constexpr int every_layer = -1;

// A file of expert ids per layer: JSON {"3": [52, 40]}, or lines "3,52 40 85" or "3: 52, 40, 85", with # comments.
// Throws error with the line that makes no sense, or where a layer comes twice.
expert_ids_by_layer read_expert_ids(const std::string & path);

// The experts of n_expert that are not in a layer's list, for each layer that has one. Throws usage_error naming an id that
// is none.
expert_ids_by_layer other_ids(const expert_ids_by_layer & ids, uint32_t n_expert);

// "3,17" (in every layer) or "5:3,17" (in layer 5). Throws usage_error naming the option.
expert_ids_by_layer parse_expert_ids(const std::vector<std::string> & items, const std::string & option);

}  // namespace moescope::prune
