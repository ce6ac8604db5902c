// The files of the viewer, and what stands in for src/io where there is no system to map them.

#include "files.hpp"

#include <algorithm>
#include <utility>

#include "browser.hpp"
#include "core/error.hpp"
#include "io/mapped_file.hpp"

namespace moescope::viewer {

std::vector<memory_file> & memory_files() {
    static std::vector<memory_file> files;
    return files;
}

}  // namespace moescope::viewer

namespace moescope::io {

namespace {

// How often the rows of the file that was opened last were gone through.
class {
public:
    void begin() { *this = {}; }
    void seen(double share) {
        n_ += share < share_;
        share_ = share;
        viewer::tell_progress(share, n_ > 1);
    }

private:
    int    n_     = 0;
    double share_ = 1;
} passes;

}  // namespace

mapped_file::mapped_file(const std::string & path) : path_(path) {
    map();
    passes.begin();
}

mapped_file::~mapped_file() = default;

mapped_file::mapped_file(mapped_file && other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

mapped_file & mapped_file::operator=(mapped_file && other) noexcept {
    std::swap(path_, other.path_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

void mapped_file::map() {
    const auto & files = viewer::memory_files();
    const auto   at = std::find_if(files.begin(), files.end(), [&](const auto & file) { return file.name == path_; });
    if (at == files.end()) {
        throw error("this file was not opened").in(path_).fix("open it together with the others");
    }
    data_ = at->bytes.data();
    size_ = at->bytes.size();
}

void mapped_file::refresh() {}  // what the browser handed over does not grow
void mapped_file::settle() {}
void mapped_file::release(uint64_t, uint64_t) const {}

void mapped_file::release_before(uint64_t, uint64_t &) const {}

void mapped_file::read_on(uint64_t at, uint64_t & released) const {
    if (at < released || at - released >= step / 16) {  // 1 MiB further, or again from the beginning
        released = at;
        passes.seen(static_cast<double>(at) / static_cast<double>(size_));
    }
}

}  // namespace moescope::io
