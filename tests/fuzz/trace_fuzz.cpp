// libFuzzer target: anything given as a trace is read and checked, or refused with moescope::error.
// Checksums would keep a fuzzer out of everything behind them, so the target makes them right before it reads.

#include "check/check.hpp"
#include "common.hpp"
#include "core/error.hpp"
#include "support/right_checksums.hpp"

using namespace moescope;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    std::string bytes = fuzz::text_of(data, size);
    test::make_checksums_right(bytes);
    const fuzz::memory_file file(bytes);
    for (void (*use)(const std::string &) :
         {fuzz::read_source, +[](const std::string & p) { check::check_trace(p); }}) {
        try {
            use(file.path());
        } catch (const error &) {  // anything else ends the run
        }
    }
    return 0;
}
