#include "cli/help/unknown.hpp"

#include <CLI/CLI.hpp>

#include "cli/help/nearest.hpp"
#include "core/error.hpp"

namespace moescope::cli {

namespace {

std::vector<std::string> names_of_verbs(const CLI::App & app) {
    std::vector<std::string> names;
    for (const CLI::App * sub : app.get_subcommands({})) {
        names.push_back(sub->get_name());
    }
    return names;
}

// The verb that the parser came to, "moescope analyze frequency", and its whole name.
const CLI::App & parsed_verb(const CLI::App & app, std::string & name) {
    const CLI::App * verb = &app;
    name                  = app.get_name();
    while (!verb->get_subcommands().empty()) {
        verb = verb->get_subcommands().front();
        name += " " + verb->get_name();
    }
    return *verb;
}

// CLI11's own texts name the option and what it takes; they may span lines.
std::string in_one_line(std::string text) {
    while (!text.empty() && text.back() == '\n') {
        text.pop_back();
    }
    for (char & c : text) {
        c = c == '\n' ? ' ' : c;
    }
    return text;
}

}  // namespace

std::vector<std::string> names_of_options(const CLI::App & verb) {
    std::vector<std::string> names;
    for (const CLI::Option * o : verb.get_options({})) {
        for (const std::string & s : o->get_snames()) {
            names.push_back("-" + s);
        }
        for (const std::string & l : o->get_lnames()) {
            names.push_back("--" + l);
        }
    }
    return names;
}

const CLI::App * find_verb(const CLI::App & app, const std::string & name) {
    const auto found = app.get_subcommands([&](const CLI::App * a) { return a->get_name() == name; });
    return found.empty() ? nullptr : found.front();
}

void check_verbs(const CLI::App & app, const std::vector<std::string> & args) {
    const CLI::App * verb = &app;
    std::string      name = app.get_name();
    for (const std::string & word : args) {
        const auto known = names_of_verbs(*verb);
        if (known.empty() || word.empty() || word[0] == '-') {
            return;
        }
        const CLI::App * next = find_verb(*verb, word);
        if (next == nullptr) {
            throw usage_error("no '" + word + "' in " + name + did_you_mean(word, known) + " (see " + name +
                              " --help)");
        }
        verb = next;
        name += " " + word;
    }
}

namespace {

// CLI11 spells an open range out, with all 309 digits of the largest double.
std::string without_open_range(const std::string & line) {
    constexpr size_t digits_of_largest = 309;
    const size_t     at                = line.find(" not in range ");
    return at == std::string::npos || line.size() - at < digits_of_largest ? line
                                                                           : line.substr(0, at) + " is too small";
}

}  // namespace

std::string explain(const CLI::App & app, const CLI::ParseError & e) {
    std::string      name;
    const CLI::App & verb = parsed_verb(app, name);
    const auto       see  = " (see " + name + " --help)";
    for (const std::string & word : verb.remaining()) {
        if (word == "--") {
            break;
        }
        if (word.size() > 1 && word[0] == '-') {
            const std::string option = word.substr(0, word.find('='));
            return "unknown option '" + option + "'" + did_you_mean(option, names_of_options(verb)) + see;
        }
    }
    const std::vector<std::string> unknown = verb.remaining();  // more likely the reason than what is missing
    if (dynamic_cast<const CLI::RequiredError *>(&e) != nullptr && !unknown.empty()) {
        return "unknown argument '" + unknown.front() + "'" + see;
    }
    return without_open_range(in_one_line(e.what())) + see;
}

std::string with_help(const CLI::App & app, const usage_error & e) {
    std::string line = e.what();
    if (e.advice().empty() && line.find("--help)") == std::string::npos) {
        std::string name;
        parsed_verb(app, name);
        line += " (see " + name + " --help)";
    }
    return line;
}

}  // namespace moescope::cli
