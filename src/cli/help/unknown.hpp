#pragma once

// Words on a command line that moescope does not know, and what was probably meant.

#include <string>
#include <vector>

#include "core/error.hpp"

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace moescope::cli {

// "-o", "--output", … of the verb's own options.
std::vector<std::string> names_of_options(const CLI::App & verb);

// The verb, or the kind of one, of that name, or null.
const CLI::App * find_verb(const CLI::App & app, const std::string & name);

// Throws usage_error where a verb, or a kind of one, should stand and another word does.
void check_verbs(const CLI::App & app, const std::vector<std::string> & args);

// What CLI11's parser found wrong, in one line; an option that the verb does not have comes first.
std::string explain(const CLI::App & app, const CLI::ParseError & e);

// A verb's own complaint, and which help has more; where it says what to do instead, nothing is added.
std::string with_help(const CLI::App & app, const usage_error & e);

}  // namespace moescope::cli
