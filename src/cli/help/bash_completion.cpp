// Completion in bash: one function that finds out which verb the line is in, and three tables.

#include <fmt/format.h>

#include "cli/help/completions.hpp"

namespace moescope::cli {

namespace {

// 'words' in single quotes, which no name or choice contains.
std::string bash_words(const std::vector<std::string> & words) {
    return fmt::format("'{}'", fmt::join(words, " "));
}

std::string bash_row(const std::string & pattern, const std::string & words) {
    return fmt::format("        {}) words={} ;;\n", pattern, words);
}

std::string bash_verbs(const std::vector<const command_page *> & commands) {
    std::string known;
    for (const command_page * c : commands) {
        if (!c->name.empty()) {
            known += fmt::format("{}'{}'", known.empty() ? "" : " | ", c->full_name());
        }
    }
    return known;
}

std::string bash_below(const command_page & c) {
    std::vector<std::string> names;
    for (const command_page & below : c.commands) {
        names.push_back(below.name.substr(below.name.rfind(' ') + 1));
    }
    return names.empty() ? "" : bash_row("'" + c.full_name() + "'", bash_words(names));
}

// The values of options: those that are known, and none but a file name for the others that take one.
std::string bash_values(const command_page & c) {
    std::string rows, files;
    for (const option_page & o : c.options) {
        for (const std::string & name : o.names) {
            const std::string key = fmt::format("'{} {}'", c.full_name(), name);
            if (!o.choices.empty()) {
                rows += bash_row(key, bash_words(o.choices));
            } else if (!o.argument.empty() && !o.optional) {
                files += (files.empty() ? "" : " | ") + key;
            }
        }
    }
    return rows + (files.empty() ? "" : bash_row(files, "''"));
}

constexpr char bash_script[] = R"sh(# bash completion for moescope, written by `moescope help --completions bash`
_moescope() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} verb=moescope words i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
            --) # a command of its own follows
                if declare -F _command_offset >/dev/null; then
                    _command_offset $((i + 1))
                elif ((i + 1 == COMP_CWORD)); then
                    COMPREPLY=($(compgen -c -- "$cur"))
                fi
                return
                ;;
        esac
        case "$verb ${{COMP_WORDS[i]}}" in
            {verbs}) verb+=" ${{COMP_WORDS[i]}}" ;;
        esac
    done
    unset words
    case "$verb ${{COMP_WORDS[COMP_CWORD - 1]}}" in # the value of an option
{values}    esac
    if [[ ${{words+set}} ]]; then
        local head=
        [[ $words != *,* && $cur == *,* ]] && head=${{cur%,*}},
        COMPREPLY=($(compgen -P "$head" -W "$words" -- "${{cur#"$head"}}"))
        return
    fi
    if [[ $cur == -* ]]; then
        case $verb in
{options}        esac
    else
        case $verb in
{below}        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -o bashdefault -F _moescope moescope
)sh";

}  // namespace

std::string bash_completion(const command_page & root) {
    const auto  commands = all_commands(root);
    std::string values, options, below;
    for (const command_page * c : commands) {
        values += bash_values(*c);
        options += bash_row("'" + c->full_name() + "'", bash_words(option_names(*c)));
        below += bash_below(*c);
    }
    return fmt::format(bash_script, fmt::arg("verbs", bash_verbs(commands)), fmt::arg("values", values),
                       fmt::arg("options", options), fmt::arg("below", below));
}

}  // namespace moescope::cli
