#pragma once

#include <string>

#include "cli/help/command_page.hpp"

namespace moescope::cli {

// The manual page of one command in roff (man(7)); `root` is moescope's own page. Commands inside a verb get no page of
// their own: they are sections of the verb's.
std::string man_page(const command_page & page, const command_page & root);

// "moescope-record.1"
std::string man_page_file(const command_page & page);

}  // namespace moescope::cli
