// Completion in zsh: a function for each command, in the language of _arguments.

#include <algorithm>

#include <fmt/format.h>

#include "cli/help/completions.hpp"

namespace moescope::cli {

namespace {

// A description inside '…[ ]…' of _arguments: brackets and colons have meanings there.
std::string zsh_text(const std::string & text) {
    std::string out;
    for (const char c : text.substr(0, text.find('\n'))) {
        if (c == '\'') {
            out += "'\\''";
        } else if (c == '[' || c == ']' || c == ':' || c == '\\') {
            out += std::string("\\") + c;
        } else {
            out += c;
        }
    }
    return out;
}

std::string zsh_function(const command_page & c) {
    std::string name = "_" + c.full_name();
    std::replace(name.begin(), name.end(), ' ', '_');
    return name;
}

std::string zsh_values(const option_page & o) {
    if (o.choices.empty()) {
        return "_files";
    }
    const std::string words = fmt::format("{}", fmt::join(o.choices, " "));
    return o.list ? fmt::format("_values -s , {} {}", "value", words) : fmt::format("({})", words);
}

// '--output=[what it is]:FILE:_files'; llama.cpp's -ngl takes its value behind a blank.
std::string zsh_option(const option_page & o, const std::string & name) {
    std::string spec = name;
    if (!o.argument.empty()) {
        spec += name.rfind("--", 0) == 0 ? (o.optional ? "=-" : "=") : o.optional ? "-" : "";
    }
    spec += "[" + zsh_text(o.text) + "]";
    if (!o.argument.empty()) {
        spec += (o.optional ? "::" : ":") + zsh_text(o.argument) + ":" + zsh_values(o);
    }
    return "        '" + spec + "' \\\n";
}

std::string zsh_options(const command_page & c) {
    std::string out;
    for (const auto * options : {&c.options, &c.llama_options}) {
        for (const option_page & o : *options) {
            for (const std::string & name : o.names) {
                out += zsh_option(o, name);
            }
        }
    }
    return out;
}

std::string zsh_below(const command_page & c) {
    std::string list, cases;
    for (const command_page & below : c.commands) {
        const std::string word = below.name.substr(below.name.rfind(' ') + 1);
        list += fmt::format("            '{}:{}'\n", word, zsh_text(below.summary));
        cases += fmt::format("                {}) {} ;;\n", word, zsh_function(below));
    }
    return fmt::format(R"sh(        '1: :->verb' '*:: :->rest'
    case $state in
        verb)
            local -a verbs=(
{}            )
            _describe verb verbs
            ;;
        rest)
            case $words[1] in
{}            esac
            ;;
    esac
)sh",
                       list, cases);
}

std::string zsh_command(const command_page & c) {
    std::string out = zsh_function(c) + "() {\n    local state line\n    _arguments -C \\\n" + zsh_options(c);
    if (c.runs_program()) {
        out += "        '*::program:_normal'\n";
    } else if (c.commands.empty()) {
        out += "        '*:file:_files'\n";
    } else {
        out += zsh_below(c);
    }
    return out + "}\n\n";
}

}  // namespace

std::string zsh_completion(const command_page & root) {
    std::string out =
        "#compdef moescope\n# zsh completion for moescope, written by `moescope help --completions zsh`\n\n";
    for (const command_page * c : all_commands(root)) {
        out += zsh_command(*c);
    }
    return out + "_moescope \"$@\"\n";
}

}  // namespace moescope::cli
