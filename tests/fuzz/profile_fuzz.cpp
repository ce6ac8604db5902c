// Any bytes as a profile: a .moestats, an expert_stats.json or an imatrix is read, or refused with moescope::error.
//   cmake --preset fuzz && cmake --build --preset fuzz
//   build-fuzz/tests/profile_fuzz corpus tests/fuzz/profile_corpus
//
// A .moestats ends with a hash of itself, which would keep a fuzzer out; the target makes it right before it reads.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include <sys/mman.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/error.hpp"
#include "prune/scores.hpp"
#include "stats/moestats.hpp"

namespace {

using namespace moescope;

void read_profile(std::string bytes) {
    if (bytes.size() > sizeof(uint64_t)) {
        const size_t   n    = bytes.size() - sizeof(uint64_t);
        const uint64_t hash = XXH3_64bits(bytes.data(), n);
        std::memcpy(&bytes[n], &hash, sizeof(hash));
    }
    const stats::moestats s = stats::decode_moestats(bytes, "fuzz");
    if (stats::encode_moestats(stats::decode_moestats(stats::encode_moestats(s), "again")) !=
        stats::encode_moestats(s)) {
        std::abort();  // what was read must be written and read back as it is
    }
}

void read_scores(const std::string & bytes) {
    const int fd = ::memfd_create("scores", 0);
    if (fd < 0 || ::write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
        std::abort();
    }
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    for (const prune::prune_criterion c : {prune::prune_criterion::frequency,
                                           prune::prune_criterion::weighted_frequency, prune::prune_criterion::reap}) {
        try {
            prune::read_expert_scores(path, c);
        } catch (const error &) {
        }
    }
    ::close(fd);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    const std::string bytes(reinterpret_cast<const char *>(data), size);
    read_scores(bytes);
    try {
        read_profile(bytes);
    } catch (const error &) {  // anything else ends the run
    }
    return 0;
}
