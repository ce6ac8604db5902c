#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "report/page_data.hpp"

namespace moescope::report {

// What `moescope evaluate` found, from the JSON that it writes (docs/evaluate.md). Throws error naming the file (or `name`)
// where it is something else.
page_damage read_damage(const std::string & path);
page_damage parse_damage(const nlohmann::json & document, const std::string & name);

// As the page receives it.
nlohmann::json damage_json(const page_damage & d);

}  // namespace moescope::report
