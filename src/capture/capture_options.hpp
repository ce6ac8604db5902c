#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/column_set.hpp"

namespace moescope::capture {

// Which layers are recorded. Empty: all.
class layer_filter {
public:
    layer_filter() = default;
    // "3", "20-24", "0,2,20-24" -> filter. Throws usage_error naming the bad part.
    explicit layer_filter(const std::string & list);
    bool has(int32_t il) const;

private:
    struct range {
        int32_t first, last;
    };
    std::vector<range> ranges_;
};

// probes: marks and reads the graph through interposed ggml calls; nearly free.
// callback: ggml's eval callback; splits the graph, but works where calls cannot be interposed. Same results.
enum class method { probes, callback };

struct capture_options {
    column_set   what = column::ids | column::weights;
    layer_filter layers;
    method       way = method::probes;
};

}  // namespace moescope::capture
