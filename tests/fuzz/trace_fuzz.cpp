// libFuzzer target: anything given as a trace or a log is read, checked or refused, never crashed on.
//   cmake --preset fuzz && cmake --build --preset fuzz
//   build-fuzz/tests/trace_fuzz corpus tests/golden tests/fuzz/trace_corpus
//
// Checksums would keep a fuzzer out of everything behind them, so the target makes them right before it reads.

#include <cstdint>
#include <cstring>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "check/check.hpp"
#include "core/error.hpp"
#include "logs/open.hpp"
#include "support/right_checksums.hpp"
#include "trace/reader.hpp"

namespace {

using namespace moescope;

// What every reader of a source may rely on.
void read_through(const std::string & path) {
    const auto source = logs::open_source(path);
    uint64_t   sum    = 0;
    for (routed_ubatch u; source->next(u);) {
        for (const block_rows & b : u.blocks) {
            for (uint32_t r = 0; r < b.n_rows; ++r) {
                if (b.token_of(r) < -1 || b.token_of(r) >= static_cast<int32_t>(u.n_tokens())) {
                    __builtin_trap();
                }
            }
            for (size_t i = 0; i < size_t(b.n_rows) * b.layout->n_expert_used; ++i) {
                if (b.id(i) >= b.layout->n_expert) {
                    __builtin_trap();
                }
                sum += b.id(i);
            }
            for (const column c : float_columns) {
                const float * values = b.values_of(c);
                for (size_t i = 0; values && i < size_t(b.n_rows) * b.layout->width(c); ++i) {
                    sum += values[i] > 0;
                }
            }
        }
    }
    volatile uint64_t read = sum;  // every value was touched
    (void)read;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    std::string bytes(reinterpret_cast<const char *>(data), size);
    test::make_checksums_right(bytes);
    const int fd = ::memfd_create("trace", 0);
    if (fd < 0 || ::write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
        return 0;
    }
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    try {
        read_through(path);
    } catch (const error &) {
    }
    try {
        check::check_trace(path);
    } catch (const error &) {
    }
    ::close(fd);
    return 0;
}
