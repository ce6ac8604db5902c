#include "infer/model_identity.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "llama.h"

#include "core/error.hpp"
#include "infer/gguf_head.hpp"

namespace moescope::infer {

namespace {

struct open_file {
    explicit open_file(const std::string & path) : fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
    ~open_file() {
        if (fd >= 0) {
            ::close(fd);
        }
    }
    open_file(const open_file &)             = delete;
    open_file & operator=(const open_file &) = delete;
    int fd;
};

uint32_t meta_number(const llama_model * model, const std::string & key) {
    char text[32] = {};
    return llama_model_meta_val_str(model, key.c_str(), text, sizeof(text)) > 0
               ? static_cast<uint32_t>(std::strtoul(text, nullptr, 10)) : 0;
}

}  // namespace

model_info describe_model(const llama_model * model, const std::string & path) {
    const gguf_head head = read_gguf_head(path);
    struct stat     s    = {};
    model_info      m;
    m.architecture  = head.architecture;
    m.name          = head.name;
    m.file          = path.substr(path.rfind('/') == std::string::npos ? 0 : path.rfind('/') + 1);
    m.file_size     = ::stat(path.c_str(), &s) == 0 ? static_cast<uint64_t>(s.st_size) : 0;
    m.n_layer       = static_cast<uint32_t>(llama_model_n_layer(model));
    m.n_expert      = head.n_expert;
    m.n_expert_used = meta_number(model, head.architecture + ".expert_used_count");
    m.n_embd        = static_cast<uint32_t>(llama_model_n_embd(model));
    m.n_vocab       = static_cast<uint32_t>(llama_vocab_n_tokens(llama_model_get_vocab(model)));
    return m;
}

uint64_t fingerprint(const std::string & path) {
    constexpr uint64_t  n_places = 16;
    constexpr size_t    n_bytes  = 64u << 10;
    const open_file     file(path);
    struct stat         s = {};
    if (file.fd < 0 || ::fstat(file.fd, &s) != 0) {
        throw error(std::string("cannot read: ") + std::strerror(errno)).in(path);
    }
    const auto        size = static_cast<uint64_t>(s.st_size);
    std::vector<char> bytes(sizeof(size) + n_bytes);
    uint64_t          hash = 0;
    for (uint64_t i = 0; i < n_places; ++i) {
        const ssize_t got = ::pread(file.fd, bytes.data() + sizeof(size), n_bytes, static_cast<off_t>(size / n_places * i));
        if (got < 0) {
            throw error(std::string("cannot read: ") + std::strerror(errno)).in(path);
        }
        std::memcpy(bytes.data(), &size, sizeof(size));
        hash = XXH3_64bits_withSeed(bytes.data(), sizeof(size) + static_cast<size_t>(got), hash);
    }
    return hash;
}

}  // namespace moescope::infer
