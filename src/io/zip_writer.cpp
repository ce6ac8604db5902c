#include "io/zip_writer.hpp"

#include <cerrno>
#include <cstring>

#include <zlib.h>

#include "core/error.hpp"

namespace moescope::io {

namespace {

// Numbers of the format, little-endian and side by side.
void append(std::string & to, std::initializer_list<std::pair<int, uint64_t>> numbers) {
    for (const auto & [n_bytes, value] : numbers) {
        for (int i = 0; i < n_bytes; ++i) {
            to += static_cast<char>(value >> (8 * i) & 0xff);
        }
    }
}

}  // namespace

void zip_writer::put(const std::string & bytes) {
    if (std::fwrite(bytes.data(), 1, bytes.size(), out_) != bytes.size()) {
        throw error(std::string("cannot write: ") + std::strerror(errno));
    }
    at_ += bytes.size();
}

void zip_writer::add(const std::string & name, const std::string & content) {
    if (at_ + content.size() > UINT32_MAX - name.size() - 1024) {
        throw error("the archive would be larger than 4 GiB");
    }
    const auto sum = static_cast<uint32_t>(
        ::crc32(0, reinterpret_cast<const Bytef *>(content.data()), static_cast<uInt>(content.size())));
    // version needed 2.0, no flags, stored, 1 January 1980
    std::string common;
    append(common, {{2, 20},
                    {2, 0},
                    {2, 0},
                    {2, 0},
                    {2, 0x21},
                    {4, sum},
                    {4, content.size()},
                    {4, content.size()},
                    {2, name.size()},
                    {2, 0}});
    append(directory_, {{4, 0x02014b50}, {2, 20}});
    directory_ += common;
    append(directory_, {{2, 0}, {2, 0}, {2, 0}, {4, 0}, {4, at_}});
    directory_ += name;
    n_members_ += 1;

    std::string header;
    append(header, {{4, 0x04034b50}});
    put(header + common + name);
    put(content);
}

void zip_writer::finish() {
    std::string end;
    append(
        end,
        {{4, 0x06054b50}, {2, 0}, {2, 0}, {2, n_members_}, {2, n_members_}, {4, directory_.size()}, {4, at_}, {2, 0}});
    put(directory_ + end);
}

}  // namespace moescope::io
