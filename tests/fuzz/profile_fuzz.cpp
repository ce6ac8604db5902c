// libFuzzer target: any bytes as a profile: a .moestats, an expert_stats.json or an imatrix is read, or refused with moescope::error.
// A .moestats ends with a hash of itself, which would keep a fuzzer out; the target makes it right before it reads.

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common.hpp"
#include "core/error.hpp"
#include "prune/scores.hpp"
#include "stats/moestats.hpp"

using namespace moescope;

namespace {

void read_profile(std::string bytes) {
    if (bytes.size() > sizeof(uint64_t)) {
        const size_t   n    = bytes.size() - sizeof(uint64_t);
        const uint64_t hash = XXH3_64bits(bytes.data(), n);
        std::memcpy(&bytes[n], &hash, sizeof(hash));
    }
    const std::string once  = stats::encode_moestats(stats::decode_moestats(bytes, "fuzz"));
    const std::string again = stats::encode_moestats(stats::decode_moestats(once, "again"));
    fuzz::promised(once == again, "a profile is written and read back as it is");
}

void read_scores(const std::string & path) {
    using prune::prune_criterion;
    for (const auto c : {prune_criterion::frequency, prune_criterion::weighted_frequency, prune_criterion::reap}) {
        try {
            prune::read_expert_scores(path, c);
        } catch (const error &) {
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    const std::string       bytes = fuzz::text_of(data, size);
    const fuzz::memory_file file(bytes);
    read_scores(file.path());
    try {
        read_profile(bytes);
    } catch (const error &) {  // anything else ends the run
    }
    return 0;
}
