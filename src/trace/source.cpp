#include "trace/source.hpp"

#include "trace/reader.hpp"

namespace moescope::trace {

std::unique_ptr<trace_source> open_source(const std::string & path) {
    return std::make_unique<trace_reader>(path);
}

}  // namespace moescope::trace
