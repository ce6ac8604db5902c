// The format: APPNOTE.TXT of PKWARE, 4.3.7 (local header), 4.3.12 (central directory), 4.3.14 to 16 (its end, and zip64).

#include "io/zip_file.hpp"

#include <algorithm>
#include <cstring>

#include <zlib.h>

#include "core/error.hpp"

namespace moescope::io {

namespace {

constexpr uint32_t local_magic = 0x04034b50, directory_magic = 0x02014b50, end_magic = 0x06054b50;
constexpr uint32_t end64_magic = 0x06064b50, end64_locator_magic = 0x07064b50;
constexpr uint64_t end_bytes = 22, end64_locator_bytes = 20, end64_bytes = 56, directory_bytes = 46, local_bytes = 30;
constexpr uint64_t longest_comment = 0xffff;
constexpr uint64_t bomb            = 100;  // no routing is packed so tightly

[[noreturn]] void fail(const mapped_file & file, const std::string & what, uint64_t at) {
    throw error(what).in(file.path(), static_cast<int64_t>(at));
}

template <class T>
T value_at(const mapped_file & file, uint64_t at) {
    if (at > file.size() || file.size() - at < sizeof(T)) {
        fail(file, "the archive ends early", file.size());
    }
    T v;
    std::memcpy(&v, file.data() + at, sizeof(T));
    return v;
}

// The end record is the last one whose magic fits: only a comment may follow it.
uint64_t find_end(const mapped_file & file) {
    const uint64_t lowest = file.size() > end_bytes + longest_comment ? file.size() - end_bytes - longest_comment : 0;
    for (uint64_t at = file.size() < end_bytes ? 0 : file.size() - end_bytes + 1; at-- > lowest;) {
        if (value_at<uint32_t>(file, at) == end_magic) {
            return at;
        }
    }
    throw error("the archive is cut: its directory, which ends it, is missing").in(file.path());
}

// A number that stands in the zip64 field when its 32 bits are all ones.
uint64_t wide(const mapped_file & file, uint32_t narrow, uint64_t & field, uint64_t field_end) {
    if (narrow != UINT32_MAX) {
        return narrow;
    }
    if (field_end - field < 8) {
        fail(file, "the archive's directory lacks a 64-bit number", field);
    }
    field += 8;
    return value_at<uint64_t>(file, field - 8);
}

// Where the extra field of this kind begins and ends; empty where there is none.
std::pair<uint64_t, uint64_t> extra_field(const mapped_file & file, uint64_t at, uint64_t size, uint16_t kind) {
    for (const uint64_t end = at + size; end - at >= 4;) {
        const auto     found = value_at<uint16_t>(file, at);
        const uint64_t next  = at + 4 + value_at<uint16_t>(file, at + 2);
        if (next > end) {
            break;
        }
        if (found == kind) {
            return {at + 4, next};
        }
        at = next;
    }
    return {at, at};
}

}  // namespace

zip_file::zip_file(const std::string & path) : file_(path) {
    const uint64_t end  = find_end(file_);
    uint64_t       n    = value_at<uint16_t>(file_, end + 10);
    uint64_t       size = value_at<uint32_t>(file_, end + 12), at = value_at<uint32_t>(file_, end + 16);
    if (end >= end64_locator_bytes && value_at<uint32_t>(file_, end - end64_locator_bytes) == end64_locator_magic) {
        const auto end64 = value_at<uint64_t>(file_, end - end64_locator_bytes + 8);
        if (end64 > end || end - end64 < end64_bytes || value_at<uint32_t>(file_, end64) != end64_magic) {
            fail(file_, "the archive's 64-bit directory is not where it should be", end - end64_locator_bytes);
        }
        n    = value_at<uint64_t>(file_, end64 + 32);
        size = value_at<uint64_t>(file_, end64 + 40);
        at   = value_at<uint64_t>(file_, end64 + 48);
    }
    if (at > end || size > end - at || n > size / directory_bytes) {
        fail(file_, "the archive's directory does not fit into the file", end);
    }
    read_directory(at, size, n);
}

void zip_file::read_directory(uint64_t at, uint64_t size, uint64_t n) {
    for (const uint64_t end = at + size; n > 0; --n) {
        if (end - at < directory_bytes || value_at<uint32_t>(file_, at) != directory_magic) {
            fail(file_, "the archive's directory makes no sense", at);
        }
        const uint64_t name = value_at<uint16_t>(file_, at + 28), extra = value_at<uint16_t>(file_, at + 30);
        const uint64_t next = at + directory_bytes + name + extra + value_at<uint16_t>(file_, at + 32);
        if (next > end) {
            fail(file_, "the archive's directory makes no sense", at);
        }
        const auto flags = value_at<uint16_t>(file_, at + 8), method = value_at<uint16_t>(file_, at + 10);
        member     m;
        m.name.assign(reinterpret_cast<const char *>(file_.data() + at + directory_bytes), name);
        if ((flags & 1) != 0 || (method != 0 && method != Z_DEFLATED)) {
            fail(file_, m.name + " is encrypted, or packed in a way that is not known", at);
        }
        auto [field, field_end] = extra_field(file_, at + directory_bytes + name, extra, 1);
        m.crc32                 = value_at<uint32_t>(file_, at + 16);
        m.size                  = wide(file_, value_at<uint32_t>(file_, at + 24), field, field_end);
        m.packed                = wide(file_, value_at<uint32_t>(file_, at + 20), field, field_end);
        m.header                = wide(file_, value_at<uint32_t>(file_, at + 42), field, field_end);
        m.stored                = method == 0;
        members_.push_back(std::move(m));
        at = next;
    }
}

const zip_file::member * zip_file::find(const std::string & name) const {
    const auto it = std::find_if(members_.begin(), members_.end(), [&](const member & m) { return m.name == name; });
    return it == members_.end() ? nullptr : &*it;
}

uint64_t zip_file::data_offset(const member & m) const {
    if (value_at<uint32_t>(file_, m.header) != local_magic) {
        fail(file_, m.name + " is not where the archive's directory says", m.header);
    }
    const uint64_t at =
        m.header + local_bytes + value_at<uint16_t>(file_, m.header + 26) + value_at<uint16_t>(file_, m.header + 28);
    if (at > file_.size() || m.packed > file_.size() - at || (m.stored && m.size != m.packed)) {
        fail(file_, m.name + " does not fit into the archive", m.header);
    }
    return at;
}

span<const uint8_t> zip_file::stored(const member & m) const {
    if (!m.stored) {
        fail(file_, m.name + " is compressed", m.header);
    }
    return {file_.data() + data_offset(m), m.size};
}

std::vector<uint8_t> zip_file::unpack(const member & m, uint64_t max_bytes) const {
    const uint64_t at = data_offset(m);
    if (m.size > max_bytes || m.size / bomb > m.packed) {
        fail(file_, m.name + " would unpack to " + std::to_string(m.size) + " bytes", m.header);
    }
    std::vector<uint8_t> out(m.size);
    if (m.stored) {
        std::copy_n(file_.data() + at, m.size, out.data());
    } else {
        z_stream z = {};
        inflateInit2(&z, -MAX_WBITS);
        uint64_t done = 0, taken = 0;
        int      state = Z_OK;
        while (state == Z_OK && (done < m.size || taken < m.packed)) {
            constexpr uint64_t most = 1u << 30;  // what zlib counts with is 32 bits wide
            z.next_in               = const_cast<Bytef *>(file_.data() + at + taken);
            z.avail_in              = static_cast<uInt>(std::min(most, m.packed - taken));
            z.next_out              = out.data() + done;
            z.avail_out             = static_cast<uInt>(std::min(most, m.size - done));
            const uInt in = z.avail_in, room = z.avail_out;
            state = inflate(&z, Z_NO_FLUSH);
            taken += in - z.avail_in;
            done += room - z.avail_out;
        }
        inflateEnd(&z);
        if (state != Z_STREAM_END || done != m.size) {
            fail(file_, m.name + " cannot be unpacked", at);
        }
    }
    uint32_t sum = 0;
    for (uint64_t from = 0; from < m.size;) {
        const auto n = static_cast<uInt>(std::min<uint64_t>(1u << 30, m.size - from));
        sum          = static_cast<uint32_t>(::crc32(sum, out.data() + from, n));
        from += n;
    }
    if (sum != m.crc32) {
        fail(file_, m.name + " is damaged: its checksum does not fit", at);
    }
    return out;
}

}  // namespace moescope::io
