#include "infer/packing.hpp"

#include <algorithm>
#include <numeric>

namespace moescope::infer {

std::vector<packed_group> pack(const std::vector<uint32_t> & n_tokens, uint32_t n_ubatch, uint32_t n_seq) {
    std::vector<uint32_t> order(n_tokens.size());
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return n_tokens[a] > n_tokens[b]; });

    std::vector<packed_group> groups;
    std::vector<uint32_t>     room;  // tokens that still fit, parallel to groups
    for (const uint32_t i : order) {
        if (n_tokens[i] == 0) {
            continue;
        }
        size_t g = 0;
        while (g < groups.size() && (room[g] < n_tokens[i] || groups[g].size() >= n_seq)) {
            ++g;
        }
        if (g == groups.size()) {
            groups.emplace_back();
            room.push_back(std::max(n_ubatch, n_tokens[i]));
        }
        groups[g].push_back(i);
        room[g] -= n_tokens[i];
    }
    return groups;
}

}  // namespace moescope::infer
