#include "core/memory_limit.hpp"

#include <cstdio>

#include "core/error.hpp"

namespace moescope {

void require_memory(const std::string & what, double bytes) {
    if (bytes <= double(max_table_bytes)) {
        return;
    }
    char size[64];
    std::snprintf(size, sizeof(size), "%.1f GiB", bytes / double(1 << 30));
    throw error(what + " would take " + size + " of memory; at most " + std::to_string(max_table_bytes >> 30) +
                " GiB are used")
        .fix("choose fewer layers with --layers, if there really are so many experts");
}

}  // namespace moescope
