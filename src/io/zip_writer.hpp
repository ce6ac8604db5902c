#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace moescope::io {

// Writes a zip archive of stored members, as torch.save does, from front to back. Members and the archive stay below 4 GiB.
class zip_writer {
public:
    explicit zip_writer(std::FILE * out) : out_(out) {}

    void add(const std::string & name, const std::string & content);  // throws error when it cannot be written
    void finish();                                                    // the last call

private:
    void put(const std::string & bytes);

    std::FILE * out_;
    std::string directory_;
    uint32_t    n_members_ = 0;
    uint64_t    at_        = 0;
};

}  // namespace moescope::io
