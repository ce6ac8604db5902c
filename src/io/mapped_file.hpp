#pragma once

#include <cstdint>
#include <string>

namespace moescope::io {

// A file mapped for reading. A file that grows can be mapped again with refresh(); one that shrinks meanwhile cannot be
// guarded against (traces never shrink once whole).
class mapped_file {
public:
    explicit mapped_file(const std::string & path);  // throws error naming the path
    ~mapped_file();
    mapped_file(mapped_file && other) noexcept;
    mapped_file & operator=(mapped_file && other) noexcept;

    const std::string & path() const { return path_; }
    const uint8_t *     data() const { return data_; }
    uint64_t            size() const { return size_; }

    void refresh();                                      // maps what was appended; pointers into data() change
    void settle();                                       // the file is whole: no descriptor is held any more
    void release(uint64_t offset, uint64_t size) const;  // these pages are not needed again soon
    // For who goes from the front to the end: what lies before `at` is released, in large steps since each call costs.
    // `released` is where the last call left off. So no more than 16 MiB of what was passed stay in memory.
    void release_before(uint64_t at, uint64_t & released) const;
    // The same for who reads every byte: the next step is mapped at once instead of page by page.
    void read_on(uint64_t at, uint64_t & released) const;

private:
    static constexpr uint64_t step = 16u << 20;

    void map();
    void unmap();

    std::string     path_;
    int             fd_   = -1;
    const uint8_t * data_ = nullptr;
    uint64_t        size_ = 0;
};

}  // namespace moescope::io
