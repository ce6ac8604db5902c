// moescope help: what --help says, by verb; and the man pages and completions that are made of it.

#include <cstdio>
#include <filesystem>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/help/command_page.hpp"
#include "cli/help/completions.hpp"
#include "cli/help/examples.hpp"
#include "cli/help/man_page.hpp"
#include "cli/help/unknown.hpp"
#include "cli/llama/model_verb.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"

namespace moescope::cli {

namespace {

namespace fs = std::filesystem;

struct help_options {
    std::vector<std::string> verb;
    std::string              shell;
    std::string              folder;
    bool                     man = false;
};

struct shell_completion {
    const char * shell;
    const char * file;  // below share/
    std::string (*script)(const command_page & root);
};
constexpr shell_completion shell_completions[] = {
    {"bash", "bash-completion/completions/moescope", bash_completion},
    {"zsh", "zsh/site-functions/_moescope", zsh_completion},
    {"fish", "fish/vendor_completions.d/moescope.fish", fish_completion},
};

void print_text(const std::string & text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
}

void print_completion(const CLI::App & app, const std::string & shell) {
    for (const shell_completion & c : shell_completions) {
        if (shell == c.shell) {
            print_text(c.script(describe(app)));
        }
    }
}

void write_page(const fs::path & file, const std::string & text) {
    fs::create_directories(file.parent_path());
    write_text({file.string(), true}, text);
}

// As in the folder share/ of an installation.
void write_pages(const CLI::App & app, const fs::path & folder) {
    const command_page root = describe(app);
    write_page(folder / "man/man1" / man_page_file(root), man_page(root, root));
    for (const command_page & verb : root.commands) {
        write_page(folder / "man/man1" / man_page_file(verb), man_page(verb, root));
    }
    for (const shell_completion & c : shell_completions) {
        write_page(folder / c.file, c.script(root));
    }
}

void print_man_page(const CLI::App & app, const std::vector<std::string> & words) {
    const command_page root = describe(app);
    for (const command_page & verb : root.commands) {
        if (!words.empty() && verb.name == words.front()) {
            print_text(man_page(verb, root));
            return;
        }
    }
    print_text(man_page(root, root));
}

void print_help_of(const CLI::App & app, const std::vector<std::string> & words) {
    check_verbs(app, words);
    const CLI::App * verb = &app;
    std::string      before;
    for (const std::string & word : words) {
        const CLI::App * next = find_verb(*verb, word);
        if (next == nullptr) {
            throw usage_error("'" + word + "' is no part of " + before + verb->get_name());
        }
        before += verb->get_name() + " ";
        verb = next;
    }
    if (const model_verb * model = model_verb_of(*verb)) {
        model->print_help();
        return;
    }
    // Not App::help(), which would answer for the verb that is running: this one.
    print_text(verb->get_formatter()->make_help(verb, before + verb->get_name(), CLI::AppFormatMode::Normal));
}

void run_help(const CLI::App & app, const help_options & o) {
    if (!o.folder.empty()) {
        write_pages(app, o.folder);
    } else if (!o.shell.empty()) {
        print_completion(app, o.shell);
    } else if (o.man) {
        check_verbs(app, o.verb);
        print_man_page(app, o.verb);
    } else {
        print_help_of(app, o.verb);
    }
}

}  // namespace

void add_help(CLI::App & app) {
    const auto o    = std::make_shared<help_options>();
    CLI::App & verb = *app.add_subcommand("help", "explain a verb, as its --help does");
    verb.add_option("VERB", o->verb, "the verb, and for analyze its kind")->type_name("");
    verb.add_flag("--man", o->man, "print the verb's man page in roff instead, for man -l");
    verb.add_option("--completions", o->shell, "print the completions of a shell instead")
        ->check(CLI::IsMember({"bash", "zsh", "fish"}))
        ->type_name("SHELL");
    verb.add_option("--write-pages", o->folder,
                    "write all man pages and completions below this folder instead, as in an installation's share/")
        ->type_name("FOLDER");
    add_examples(verb, {{"moescope help record", "what the verb does, and all its options"},
                        {"moescope help analyze cache", "the same for one kind of analysis"},
                        {"source <(moescope help --completions bash)", "complete verbs and options in this shell"}});
    verb.callback([&app, o] { run_help(app, *o); });
}

}  // namespace moescope::cli
