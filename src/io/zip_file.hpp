#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/span.hpp"
#include "io/mapped_file.hpp"

namespace moescope::io {

// A zip archive for reading, as torch.save and numpy.savez write them: members stored as they are, which are handed out
// in place from the mapped file, or deflated ones. Archives of several volumes and encrypted members are refused.
class zip_file {
public:
    struct member {
        std::string name;
        uint64_t    size   = 0;  // bytes, unpacked
        uint64_t    packed = 0;  // bytes in the file
        uint64_t    header = 0;  // where its local header is
        uint32_t    crc32  = 0;
        bool        stored = false;
    };

    // Throws error naming path and offset where this is no archive, or one that ends early or makes no sense.
    explicit zip_file(const std::string & path);

    const std::string &         path() const { return file_.path(); }
    const std::vector<member> & members() const { return members_; }
    const member *              find(const std::string & name) const;  // null where there is none

    // The bytes of a stored member, valid as long as this object; not checked against its CRC. Throws error where it is
    // deflated or does not lie in the file.
    span<const uint8_t> stored(const member & m) const;
    // The bytes of any member, unpacked and checked. Throws error where they are more than max_bytes, more than a hundred
    // times what they are packed (a zip bomb), damaged, or packed in a way that is not known.
    std::vector<uint8_t> unpack(const member & m, uint64_t max_bytes) const;

private:
    uint64_t data_offset(const member & m) const;
    void     read_directory(uint64_t at, uint64_t size, uint64_t n);

    mapped_file         file_;
    std::vector<member> members_;
};

}  // namespace moescope::io
