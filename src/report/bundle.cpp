#include "report/bundle.hpp"

#include <algorithm>

#include <zlib.h>

#include "core/error.hpp"

namespace moescope::report {

namespace {

constexpr char raw_magic[]    = "MOEPAGE0";
constexpr char packed_magic[] = "MOEPAGEZ";

template <class T>
std::vector<T> narrowed(span<const uint64_t> v) {
    std::vector<T> out(v.size());
    std::transform(v.begin(), v.end(), out.begin(), [](uint64_t x) { return static_cast<T>(x); });
    return out;
}

std::string packed(const std::string & body) {
    uLongf      size = compressBound(static_cast<uLong>(body.size()));
    std::string out(size, '\0');
    const int rc = compress2(reinterpret_cast<Bytef *>(out.data()), &size, reinterpret_cast<const Bytef *>(body.data()),
                             static_cast<uLong>(body.size()), 6);
    if (rc != Z_OK) {
        throw error("the page's data cannot be compressed (zlib error " + std::to_string(rc) + ")");
    }
    out.resize(size);
    return out;
}

}  // namespace

nlohmann::json bundle::put(const char * type, const void * data, size_t n, size_t width) {
    list_.push_back({{"type", type}, {"offset", bytes_.size()}, {"length", n}});
    if (n > 0) {
        bytes_.append(static_cast<const char *>(data), n * width);
    }
    bytes_.resize((bytes_.size() + 7) / 8 * 8);
    return {{"@", list_.size() - 1}};
}

nlohmann::json bundle::add_counts(span<const uint64_t> v) {
    const uint64_t most = v.empty() ? 0 : *std::max_element(v.begin(), v.end());
    if (most <= 0xff) {
        return add(narrowed<uint8_t>(v));
    }
    if (most <= 0xffff) {
        return add(narrowed<uint16_t>(v));
    }
    if (most <= 0xffffffff) {
        return add(narrowed<uint32_t>(v));
    }
    return add(narrowed<double>(v));
}

std::string bundle::finish(nlohmann::json document, bool compress) const {
    document["arrays"] = list_;
    std::string text   = document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    text.append((8 - (4 + text.size()) % 8) % 8, ' ');
    const auto  length = static_cast<uint32_t>(text.size());
    std::string body(reinterpret_cast<const char *>(&length), sizeof(length));
    body += text;
    body += bytes_;
    return compress ? packed_magic + packed(body) : raw_magic + body;
}

}  // namespace moescope::report
