#include "io/magic.hpp"

#include <filesystem>
#include <fstream>

namespace moescope::io {

bool begins_with(const std::string & path, std::string_view magic) {
    std::error_code unknown;
    if (!std::filesystem::is_regular_file(path, unknown)) {
        return false;  // opening a pipe would wait for whoever writes it
    }
    std::string   bytes(magic.size(), '\0');
    std::ifstream in(path, std::ios::binary);
    return in.read(bytes.data(), static_cast<std::streamsize>(bytes.size())) && bytes == magic;
}

}  // namespace moescope::io
