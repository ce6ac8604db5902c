// libFuzzer target: anything given as a trace is read and checked, or refused with moescope::error.
// Checksums would keep a fuzzer out of everything behind them, so the target makes them right before it reads.

#include "check/check.hpp"
#include "common.hpp"
#include "core/error.hpp"
#include "support/right_checksums.hpp"

using namespace moescope;

namespace {

// As the page's server reads: to a place and on, there again, and with what the program took back.
void read_in_parts(const std::string & path) {
    const auto    source = logs::open_source(path);
    routed_ubatch first;
    if (source->next(first)) {
        const auto     here = source->tell();
        const uint64_t rest = fuzz::read_rows(*source);
        if (here) {
            source->seek(*here);
            fuzz::promised(fuzz::read_rows(*source) == rest, "what is read from a place on is the same");
        }
    }
    source->include_taken_back(true);
    source->rewind();
    fuzz::read_rows(*source);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    std::string bytes = fuzz::text_of(data, size);
    test::make_checksums_right(bytes);
    const fuzz::memory_file file(bytes);
    for (void (*use)(const std::string &) :
         {fuzz::read_source, read_in_parts, +[](const std::string & p) { check::check_trace(p); }}) {
        try {
            use(file.path());
        } catch (const error &) {  // anything else ends the run
        }
    }
    return 0;
}
