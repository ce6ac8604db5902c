// Where decode_driver's large blocks lie: each begins on a huge page. Otherwise they begin wherever the address space was
// randomized to, some of their pages are small, and a prompt takes up to 1 % more or less time in one process than in the next.
// Replaces posix_memalign (ggml's buffers) and operator new (its working memory) in the whole process.

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

constexpr size_t HUGE_PAGE = size_t(2) << 20;
constexpr size_t LARGE     = size_t(64) << 10;

// Freed by free(); null when there is no memory.
void * allocate(size_t size, size_t alignment) {
    if (size >= LARGE) {
        alignment = HUGE_PAGE;
    } else if (alignment <= alignof(std::max_align_t)) {
        return std::malloc(size);
    }
    return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

}  // namespace

extern "C" int posix_memalign(void ** block, size_t alignment, size_t size) noexcept {
    *block = allocate(size, alignment);
    return *block == nullptr ? ENOMEM : 0;
}

void * operator new(size_t size) {
    void * const block = allocate(size, alignof(std::max_align_t));
    if (block == nullptr) {
        throw std::bad_alloc();
    }
    return block;
}

void operator delete(void * block) noexcept {
    std::free(block);
}

void operator delete(void * block, size_t) noexcept {
    std::free(block);
}
