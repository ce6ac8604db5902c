#pragma once

// Everything --help knows of moescope, as plain data: what man pages and completions are written from. It is read off the
// registered verbs, so a new verb or option is in all of them.

#include <string>
#include <vector>

#include "cli/help/examples.hpp"

namespace CLI {
class App;
}

namespace moescope::cli {

struct option_page {
    std::vector<std::string> names;     // "-o", "--output"; the one name of a positional argument
    std::string              argument;  // "FILE"; empty: a flag
    std::string              text;
    std::string              default_value;
    std::vector<std::string> choices;           // the values it takes, where they can be listed
    bool                     optional = false;  // the argument may be left out
    bool                     list     = false;  // it takes several choices, with commas
};

struct command_page {
    std::string               name;  // "analyze frequency"; empty: moescope itself
    std::string               group, summary, notes;
    std::vector<option_page>  arguments, options;
    std::vector<option_page>  llama_options;  // what it hands on to llama.cpp
    std::vector<example>      examples;
    std::vector<command_page> commands;

    std::string full_name() const { return name.empty() ? "moescope" : "moescope " + name; }
    bool        runs_program() const;  // what follows -- is a command of its own
};

// The command and all below it. `app` is moescope's, with every verb added.
command_page describe(const CLI::App & app);

// The command and those below it, depth first.
std::vector<const command_page *> all_commands(const command_page & root);

// Every name of every option that the command takes, llama.cpp's too.
std::vector<std::string> option_names(const command_page & page);

}  // namespace moescope::cli
