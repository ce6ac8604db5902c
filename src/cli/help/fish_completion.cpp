// Completion in fish: a line for each verb and option, with the condition under which it is offered.

#include <fmt/format.h>

#include "cli/help/completions.hpp"

namespace moescope::cli {

namespace {

std::string fish_quoted(const std::string & text) {
    std::string out = "'";
    for (const char c : text.substr(0, text.find('\n'))) {
        out += c == '\'' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    }
    return out + "'";
}

std::string fish_last(const command_page & c) {
    return c.name.substr(c.name.rfind(' ') + 1);
}

// The line stands in this command, and in none below it.
std::string fish_condition(const command_page & c) {
    std::string below;
    for (const command_page & b : c.commands) {
        below += " " + fish_last(b);
    }
    if (c.name.empty()) {
        return "__fish_use_subcommand";
    }
    std::string here;
    for (size_t at = 0; at < c.name.size();) {
        const size_t end = std::min(c.name.find(' ', at), c.name.size());
        here += (here.empty() ? "" : "; and ") + ("__fish_seen_subcommand_from " + c.name.substr(at, end - at));
        at = end + 1;
    }
    return here + (below.empty() ? "" : "; and not __fish_seen_subcommand_from" + below);
}

// -s o -l output; llama.cpp's -ngl is an "old" option.
std::string fish_names(const option_page & o) {
    std::string out;
    for (const std::string & name : o.names) {
        const bool is_long = name.rfind("--", 0) == 0;
        out += is_long ? " -l " + name.substr(2) : (name.size() == 2 ? " -s " : " -o ") + name.substr(1);
    }
    return out;
}

std::string fish_option(const option_page & o, const std::string & condition) {
    std::string line = "complete -c moescope -n '" + condition + "'" + fish_names(o);
    if (!o.choices.empty()) {
        line += fmt::format(" {} -a '{}'", o.optional ? "-f" : "-x", fmt::join(o.choices, " "));
    } else if (!o.argument.empty() && !o.optional) {
        line += " -r";
    }
    return line + " -d " + fish_quoted(o.text) + "\n";
}

}  // namespace

std::string fish_completion(const command_page & root) {
    std::string out = "# fish completion for moescope, written by `moescope help --completions fish`\n";
    for (const command_page * c : all_commands(root)) {
        const std::string condition = fish_condition(*c);
        for (const command_page & below : c->commands) {
            out += fmt::format("complete -c moescope -n '{}' -f -a {} -d {}\n", condition, fish_last(below),
                               fish_quoted(below.summary));
        }
        for (const auto * options : {&c->options, &c->llama_options}) {
            for (const option_page & o : *options) {
                out += fish_option(o, condition);
            }
        }
    }
    return out;
}

}  // namespace moescope::cli
