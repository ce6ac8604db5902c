#pragma once

#include <optional>
#include <string>

#include "stats/moestats.hpp"

namespace moescope::profile {

// NAME.json -> NAME.moestats
std::string moestats_path(const std::string & json_path);

// The checkpoint of a job to go on with; nothing where there is no such file. Throws error if it cannot be read, or was
// not made by a job that `begun` describes: of the same model, corpus and options.
std::optional<stats::moestats> read_checkpoint(const std::string & path, const stats::moestats & begun);

}  // namespace moescope::profile
