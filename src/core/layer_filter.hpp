#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moescope {

// Which layers are recorded, or asked about.
class layer_filter {
public:
    layer_filter() = default;  // all
    // "3", "20-24", "0,2,20-24" -> filter; "" -> all. Throws usage_error naming the bad part.
    explicit layer_filter(const std::string & list);

    bool has(int32_t il) const;
    bool all() const { return ranges_.empty(); }

private:
    struct range {
        int32_t first, last;  // inclusive
    };
    std::vector<range> ranges_;
};

}  // namespace moescope
