#include "logs/open.hpp"

#include <cstring>
#include <fstream>

#include "core/error.hpp"
#include "io/magic.hpp"
#include "logs/foreign_log.hpp"
#include "trace/reader.hpp"

namespace moescope::logs {

std::unique_ptr<trace::trace_source> open_source(const std::string & path) {
    char          beginning[4096] = {};
    std::ifstream in(path, std::ios::binary);
    in.read(beginning, sizeof(beginning));
    const auto n = static_cast<size_t>(in.gcount());
    if (io::begins_with(path, "GGUF")) {
        throw error("this is a GGUF file, not a trace").in(path).fix("'moescope info' and 'moescope map' read models");
    }
    // A log is text; whatever else this is, the trace reader says what is wrong with it.
    if (n == 0 || std::memchr(beginning, 0, n) != nullptr) {
        return std::make_unique<trace::trace_reader>(path);
    }
    return std::make_unique<foreign_log>(path);
}

}  // namespace moescope::logs
