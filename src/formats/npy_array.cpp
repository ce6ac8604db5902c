#include "formats/npy_array.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "core/error.hpp"

namespace moescope::formats {

namespace {

constexpr size_t header_bytes = 128;  // a multiple of 64, as numpy aligns it, and long enough for any shape
constexpr size_t enough       = 256u << 10;

struct closer {
    void operator()(std::FILE * f) const { std::fclose(f); }
};

[[noreturn]] void fail(const std::string & path) {
    throw error(std::string("cannot write: ") + std::strerror(errno)).in(path);
}

}  // namespace

npy_array::npy_array(std::string path, std::string type, size_t value_bytes, size_t width)
    : path_(std::move(path)),
      type_(std::move(type)),
      value_bytes_(value_bytes),
      width_(width) {}

std::string npy_array::header() const {
    std::string shape = std::to_string(rows()) + ",";
    if (width_ > 0) {
        shape += " " + std::to_string(width_);
    }
    std::string text = std::string("\x93NUMPY\x01\x00", 8);
    text += static_cast<char>(header_bytes - 10);
    text += '\0';
    text += "{'descr': '" + type_ + "', 'fortran_order': False, 'shape': (" + shape + "), }";
    text.resize(header_bytes - 1, ' ');
    return text + '\n';
}

void npy_array::append(const void * values, size_t n_values) {
    pending_.append(static_cast<const char *>(values), n_values * value_bytes_);
    n_values_ += n_values;
    if (pending_.size() >= enough) {
        flush();
    }
}

void npy_array::flush() {
    const std::unique_ptr<std::FILE, closer> file(std::fopen(path_.c_str(), created_ ? "ab" : "wb"));
    if (!file) {
        fail(path_);
    }
    if (!created_) {
        pending_.insert(0, header());
        created_ = true;
    }
    if (std::fwrite(pending_.data(), 1, pending_.size(), file.get()) != pending_.size() ||
        std::fflush(file.get()) != 0) {
        fail(path_);
    }
    pending_.clear();
}

void npy_array::finish() {
    flush();
    const std::unique_ptr<std::FILE, closer> file(std::fopen(path_.c_str(), "r+b"));
    const std::string                        text = header();
    if (!file || std::fwrite(text.data(), 1, text.size(), file.get()) != text.size() || std::fflush(file.get()) != 0) {
        fail(path_);
    }
}

}  // namespace moescope::formats
