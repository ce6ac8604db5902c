#include "gguf/fingerprint.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "io/hash.hpp"
#include "io/input_file.hpp"

namespace moescope::gguf {

uint64_t fingerprint(const std::string & path) {
    constexpr uint64_t   n_places = 16;
    constexpr uint64_t   n_bytes  = 64u << 10;
    const io::input_file file(path);
    const uint64_t       size = file.size();
    std::vector<char>    bytes(sizeof(size) + n_bytes);
    std::memcpy(bytes.data(), &size, sizeof(size));
    uint64_t hash = 0;
    for (uint64_t i = 0; i < n_places; ++i) {
        const uint64_t begin = size / n_places * i;
        const uint64_t n     = std::min(n_bytes, size - begin);
        file.read_at(begin, bytes.data() + sizeof(size), n);
        hash = io::hash_bytes(bytes.data(), sizeof(size) + n, hash);
    }
    return hash;
}

uint64_t shape_fingerprint(const model_file & model) {
    std::vector<std::string> lines;
    for (const model_file::tensor & t : model.tensors()) {
        std::string line = t.name;
        for (const auto n : t.ne) {
            line += ' ' + std::to_string(n);
        }
        lines.push_back(line + '\n');
    }
    std::sort(lines.begin(), lines.end());
    uint64_t hash = 0;
    for (const std::string & line : lines) {
        hash = io::hash_bytes(line.data(), line.size(), hash);
    }
    return hash;
}

}  // namespace moescope::gguf
