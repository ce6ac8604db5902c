#pragma once

// Examples of a verb. They end its --help, and its man page is made from that.

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace moescope::cli {

struct example {
    std::string command;  // one line, as typed
    std::string says;     // what it does, a clause without a final stop
};

// Puts them below the verb's footer, so after the call of footer().
void add_examples(CLI::App & verb, const std::vector<example> & examples);

// The end of a verb's --help in its parts again.
struct help_footer {
    std::string          notes;
    std::vector<example> examples;
};
help_footer parse_footer(const std::string & footer);

}  // namespace moescope::cli
