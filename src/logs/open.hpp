#pragma once

#include <memory>
#include <string>

#include "logs/open.hpp"
#include "trace/source.hpp"

namespace moescope::logs {

// Opens a trace, or a log of routing, whichever its beginning looks like. Throws error naming the path.
std::unique_ptr<trace::trace_source> open_source(const std::string & path);

}  // namespace moescope::logs
