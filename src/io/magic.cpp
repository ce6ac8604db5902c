#include "io/magic.hpp"

#include <fstream>

namespace moescope::io {

bool begins_with(const std::string & path, std::string_view magic) {
    std::string   bytes(magic.size(), '\0');
    std::ifstream in(path, std::ios::binary);
    return in.read(bytes.data(), static_cast<std::streamsize>(bytes.size())) && bytes == magic;
}

}  // namespace moescope::io
