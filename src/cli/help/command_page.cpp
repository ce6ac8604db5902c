#include "cli/help/command_page.hpp"

#include <algorithm>
#include <sstream>

#include <CLI/CLI.hpp>

#include "cli/llama/model_verb.hpp"
#include "core/capture_list.hpp"

namespace moescope::cli {

namespace {

std::vector<std::string> split_list(const std::string & text, char at) {
    std::vector<std::string> items;
    std::istringstream       in(text);
    for (std::string item; std::getline(in, item, at);) {
        items.push_back(item);
    }
    return items;
}

// CLI11 appends what a check takes to the type: "WAY:{probes,callback}".
void set_argument(option_page & page, std::string type) {
    const size_t brace = type.find(":{");
    if (brace != std::string::npos && type.back() == '}') {
        page.choices = split_list(type.substr(brace + 2, type.size() - brace - 3), ',');
        type.resize(brace);
    }
    page.optional = page.optional || (!type.empty() && type.front() == '[');
    type.erase(std::remove_if(type.begin(), type.end(), [](char c) { return c == '[' || c == ']'; }), type.end());
    page.argument = type.substr(0, type.find(':'));
}

option_page page_of_option(const CLI::Option & o) {
    option_page page;
    page.text = o.get_description();
    if (o.get_positional()) {
        page.names = {o.get_name(true)};
    } else {
        for (const std::string & s : o.get_snames()) {
            page.names.push_back("-" + s);
        }
        for (const std::string & l : o.get_lnames()) {
            page.names.push_back("--" + l);
        }
    }
    if (o.get_type_size() != 0) {
        page.optional      = o.get_expected_min() == 0;
        page.default_value = o.get_default_str();
        set_argument(page, o.get_type_name());
    }
    if (std::count(page.names.begin(), page.names.end(), "--capture") != 0) {
        page.choices = split_list(to_string(capture_list::all()) + ",all", ',');
        page.list    = true;
    }
    return page;
}

void add_options(command_page & page, const CLI::App & app) {
    for (const CLI::Option * o : app.get_options([](const CLI::Option * o) { return !o->get_group().empty(); })) {
        (o->get_positional() ? page.arguments : page.options).push_back(page_of_option(*o));
    }
}

void add_llama_options(command_page & page, const model_verb & verb) {
    for (const llama_options::option & o : verb.llama().all()) {
        if (!o.refused) {
            page.llama_options.push_back({o.names, o.value_hint, o.text, "", {}, false, false});
        }
    }
}

command_page page_of(const CLI::App & app, const std::string & name) {
    const model_verb * model = model_verb_of(app);
    const CLI::App &   own   = model == nullptr ? app : model->own();
    const help_footer  end   = parse_footer(own.get_footer());
    command_page       page;
    page.name     = name;
    page.group    = app.get_group();
    page.summary  = app.get_description();
    page.notes    = end.notes;
    page.examples = end.examples;
    add_options(page, own);
    if (model != nullptr) {
        add_llama_options(page, *model);
    }
    for (const CLI::App * sub : app.get_subcommands({})) {
        page.commands.push_back(page_of(*sub, name + (name.empty() ? "" : " ") + sub->get_name()));
    }
    return page;
}

}  // namespace

bool command_page::runs_program() const {
    return std::any_of(arguments.begin(), arguments.end(),
                       [](const option_page & a) { return a.names.front() == "command"; });
}

command_page describe(const CLI::App & app) {
    return page_of(app, "");
}

std::vector<const command_page *> all_commands(const command_page & root) {
    std::vector<const command_page *> all = {&root};
    for (const command_page & c : root.commands) {
        const auto below = all_commands(c);
        all.insert(all.end(), below.begin(), below.end());
    }
    return all;
}

std::vector<std::string> option_names(const command_page & page) {
    std::vector<std::string> names;
    for (const auto * options : {&page.options, &page.llama_options}) {
        for (const option_page & o : *options) {
            names.insert(names.end(), o.names.begin(), o.names.end());
        }
    }
    return names;
}

}  // namespace moescope::cli
