#include "cli/help/examples.hpp"

#include <sstream>

#include <CLI/CLI.hpp>

namespace moescope::cli {

namespace {

constexpr char examples_title[] = "Examples:\n";
constexpr char command_indent[] = "  ";
constexpr char says_indent[]    = "      ";

}  // namespace

void add_examples(CLI::App & verb, const std::vector<example> & examples) {
    std::string text = verb.get_footer();
    text += (text.empty() ? "" : "\n\n") + std::string(examples_title);
    for (const example & e : examples) {
        text += command_indent + e.command + "\n" + says_indent + e.says + "\n";
    }
    text.pop_back();  // CLI11 ends the footer itself
    verb.footer(text);
}

help_footer parse_footer(const std::string & footer) {
    help_footer  parts;
    const size_t at = footer.find(examples_title);
    parts.notes     = footer.substr(0, at);
    while (!parts.notes.empty() && parts.notes.back() == '\n') {
        parts.notes.pop_back();
    }
    if (at == std::string::npos) {
        return parts;
    }
    std::istringstream lines(footer.substr(at + sizeof(examples_title) - 1));
    for (std::string line; std::getline(lines, line);) {
        if (line.rfind(says_indent, 0) == 0 && !parts.examples.empty()) {
            parts.examples.back().says = line.substr(sizeof(says_indent) - 1);
        } else if (line.rfind(command_indent, 0) == 0) {
            parts.examples.push_back({line.substr(sizeof(command_indent) - 1), ""});
        }
    }
    return parts;
}

}  // namespace moescope::cli
