#include "report/html.hpp"

#include <cstdint>

#include "core/error.hpp"

namespace moescope::report {

// Defined in the generated page_template.cpp (cmake/EmbedPage.cmake).
extern const unsigned char page_template_bytes[];
extern const unsigned long page_template_size;

namespace {

// Where the data goes; the page of `serve` keeps it empty and asks for its data.
constexpr char data_mark[]   = "<script type=\"application/moescope\" id=\"data\"></script>";
constexpr char data_open[]   = "<script type=\"application/moescope\" id=\"data\">";
constexpr char data_close[]  = "</script>";
constexpr char policy_mark[] = "http-equiv=\"Content-Security-Policy\" content=\"";

std::string base64(const std::string & bytes) {
    static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string           out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (size_t i = 0; i < bytes.size(); i += 3) {
        const size_t n    = bytes.size() - i;
        const auto   byte = [&](size_t j) {
            return j < n ? static_cast<uint32_t>(static_cast<uint8_t>(bytes[i + j])) : 0u;
        };
        const uint32_t v = byte(0) << 16 | byte(1) << 8 | byte(2);
        out += digits[v >> 18];
        out += digits[v >> 12 & 63];
        out += n > 1 ? digits[v >> 6 & 63] : '=';
        out += n > 2 ? digits[v & 63] : '=';
    }
    return out;
}

}  // namespace

const std::string & page_template() {
    static const std::string page(reinterpret_cast<const char *>(page_template_bytes), page_template_size);
    return page;
}

std::string page_with_data(const std::string & bytes) {
    std::string  page = page_template();
    const size_t at   = page.find(data_mark);
    if (at == std::string::npos) {
        throw error("the page of this build has no place for data").fix("build web/ again (docs/report.md)");
    }
    return page.replace(at, sizeof(data_mark) - 1, data_open + base64(bytes) + data_close);
}

std::string content_security_policy() {
    const std::string & page  = page_template();
    const size_t        mark  = page.find(policy_mark);
    const size_t        begin = mark + sizeof(policy_mark) - 1;
    const size_t        end   = mark == std::string::npos ? mark : page.find('"', begin);
    if (end == std::string::npos) {
        throw error("the page of this build has no Content-Security-Policy").fix("build web/ again (docs/report.md)");
    }
    return page.substr(begin, end - begin);
}

}  // namespace moescope::report
