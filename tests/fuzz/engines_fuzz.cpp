// libFuzzer target: anything given as a file of another engine, or as the pickle inside of one, is read or refused with
// moescope::error.

#include "common.hpp"
#include "core/error.hpp"
#include "core/expert_counts.hpp"
#include "logs/arrays/pickle.hpp"

using namespace moescope;

namespace {

// Everything that can be reached from a value, as deep as readers go.
uint64_t touch(logs::pickle::ref value, int depth) {
    uint64_t sum = static_cast<uint64_t>(value.integer()) + value.text().size() + (value.real() > 0);
    for (size_t i = 0; i < value.size() && i < 64 && depth > 0; ++i) {
        sum += touch(value.key(i), 0) + touch(value.at(i), depth - 1);
    }
    return sum + (value.as_tensor() != nullptr);
}

void count(const std::string & path) {
    const auto    source = logs::open_source(path);
    expert_counts counts;
    for (routed_ubatch u; source->next(u);) {
        counts.add(u);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    try {
        const logs::pickle value({data, size});
        volatile uint64_t  sum = touch(value.root(), 4);
        (void)sum;
    } catch (const error &) {
    }
    const fuzz::memory_file file(fuzz::text_of(data, size));
    try {
        fuzz::read_source(file.path());
        count(file.path());
    } catch (const error &) {
    }
    return 0;
}
