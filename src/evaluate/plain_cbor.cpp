#include "evaluate/plain_cbor.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moescope::evaluate {

namespace {

constexpr size_t deepest = 16;

// The head of an item: what it is, and a number or how many bytes or items follow.
struct item {
    enum major { bytes = 2, text = 3, array = 4, map = 5, tag = 6 };
    unsigned type  = 0;
    uint64_t count = 0;
};

// False where it does not fit, or its length is not in front (31).
bool read_head(std::string_view & from, item & it) {
    const auto next = [&] {
        const auto byte = static_cast<unsigned char>(from.front());
        from.remove_prefix(1);
        return byte;
    };
    if (from.empty()) {
        return false;
    }
    const unsigned byte = next(), info = byte & 31;
    it = {byte >> 5, info};
    if (info < 24) {
        return true;
    }
    const size_t n = size_t{1} << (info - 24);
    if (info > 27 || from.size() < n) {
        return false;
    }
    it.count = 0;
    for (size_t i = 0; i < n; ++i) {
        it.count = it.count << 8 | next();
    }
    return true;
}

}  // namespace

bool is_plain_cbor(std::string_view bytes) {
    std::vector<uint64_t> left = {1};  // items that are still to come, of each array and map around this place
    while (!left.empty()) {
        if (left.back() == 0) {
            left.pop_back();
            continue;
        }
        left.back() -= 1;
        item it;
        if (!read_head(bytes, it) || it.type == item::tag) {
            return false;
        }
        const bool holds = it.type == item::array || it.type == item::map;
        const bool sized = holds || it.type == item::bytes || it.type == item::text;
        if ((sized && it.count > bytes.size()) || (holds && left.size() == deepest)) {
            return false;
        }
        if (holds) {
            left.push_back(it.type == item::map ? 2 * it.count : it.count);
        } else if (sized) {
            bytes.remove_prefix(it.count);
        }
    }
    return bytes.empty();
}

}  // namespace moescope::evaluate
