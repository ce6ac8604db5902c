#include "trace/head.hpp"

#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "io/hash.hpp"
#include "io/path.hpp"

namespace moescope::trace {

namespace {

std::string program_name() {
    char          path[4096];
    const ssize_t n = ::readlink("/proc/self/exe", path, sizeof(path));
    return io::base_name(std::string(path, n > 0 ? static_cast<size_t>(n) : 0));
}

uint64_t wall_ns() {
    timespec t = {};
    ::clock_gettime(CLOCK_REALTIME, &t);
    return uint64_t(t.tv_sec) * 1'000'000'000 + uint64_t(t.tv_nsec);
}

uint64_t new_id() {
    uint64_t id = 0;
    while (id == 0) {
        if (::getrandom(&id, sizeof(id), GRND_NONBLOCK) != sizeof(id)) {  // at boot only
            const uint64_t now = wall_ns();
            id                 = io::hash_bytes(&now, sizeof(now));
        }
    }
    return id;
}

}  // namespace

trace_head trace_head::of_this_process(const capture_list & captured, uint32_t stream, std::string mask) {
    return {program_name(), ::getpid(), stream, wall_ns(), new_id(), captured, std::move(mask)};
}

}  // namespace moescope::trace
