#include "logs/open.hpp"

#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/error.hpp"
#include "io/magic.hpp"
#include "io/zip_file.hpp"
#include "logs/arrays/npy.hpp"
#include "logs/engines/engines.hpp"
#include "logs/foreign_log.hpp"
#include "trace/reader.hpp"

namespace moescope::logs {

namespace {

bool begins_as_json(const char * text, size_t n) {
    size_t at = 0;
    while (at < n && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t')) {
        ++at;
    }
    return at < n && text[at] == '{';
}

std::unique_ptr<trace::trace_source> open_archive(const std::string & path) {
    return torch_file::is_one(io::zip_file(path)) ? open_torch(path) : open_router_logits(path);
}

}  // namespace

std::unique_ptr<trace::trace_source> open_source(const std::string & path) {
    std::error_code unknown;
    if (!std::filesystem::is_regular_file(path, unknown)) {
        return std::make_unique<trace::trace_reader>(path);  // says what is wrong with it, and waits for nobody
    }
    char          beginning[4096] = {};
    std::ifstream in(path, std::ios::binary);
    in.read(beginning, sizeof(beginning));
    const auto n = static_cast<size_t>(in.gcount());
    if (io::begins_with(path, "GGUF")) {
        throw error("this is a GGUF file, not a trace").in(path).fix("'moescope info' and 'moescope map' read models");
    }
    if (io::begins_with(path, "PK\x03\x04")) {
        return open_archive(path);
    }
    if (io::begins_with(path, npy_magic)) {
        return open_npy(path);
    }
    if (begins_as_json(beginning, n)) {
        if (auto source = open_json(path)) {
            return source;
        }
    }
    // A log is text; whatever else this is, the trace reader says what is wrong with it.
    if (n == 0 || std::memchr(beginning, 0, n) != nullptr) {
        return std::make_unique<trace::trace_reader>(path);
    }
    return std::make_unique<foreign_log>(path);
}

}  // namespace moescope::logs
