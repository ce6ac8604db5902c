#include "core/layer_filter.hpp"

#include <algorithm>
#include <charconv>

#include "core/error.hpp"

namespace moescope {

namespace {

int32_t parse_layer(const std::string & text, const std::string & list) {
    int32_t    il     = -1;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), il);
    if (text.empty() || result.ec != std::errc() || result.ptr != text.data() + text.size() || il < 0) {
        throw usage_error("--layers takes layer numbers and ranges such as 3 or 0,2,20-24, not '" + list + "'");
    }
    return il;
}

}  // namespace

layer_filter::layer_filter(const std::string & list) {
    for (size_t begin = 0; !list.empty() && begin <= list.size();) {
        const size_t      end   = std::min(list.find(',', begin), list.size());
        const std::string part  = list.substr(begin, end - begin);
        const size_t      dash  = part.find('-');
        const int32_t     first = parse_layer(part.substr(0, dash), list);
        const int32_t     last  = dash == std::string::npos ? first : parse_layer(part.substr(dash + 1), list);
        if (last < first) {
            throw usage_error("--layers: the range '" + part + "' ends before it begins");
        }
        ranges_.push_back({first, last});
        begin = end + 1;
    }
}

bool layer_filter::has(int32_t il) const {
    return ranges_.empty() ||
           std::any_of(ranges_.begin(), ranges_.end(), [&](const range & r) { return r.first <= il && il <= r.last; });
}

}  // namespace moescope
