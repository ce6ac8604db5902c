// moescope doctor: what can be recorded here, and in a program, and why not.

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include <gnu/libc-version.h>
#include <sys/utsname.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "capture/self_test.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"
#include "core/version.hpp"
#include "gguf/head.hpp"
#include "gguf/model_file.hpp"
#include "gguf/moe_shape.hpp"
#include "infer/backends.hpp"
#include "profile/ranks.hpp"
#include "recorder/launch/llama_parts.hpp"
#include "recorder/launch/program.hpp"
#include "sql/database.hpp"

namespace moescope::cli {

namespace {

using nlohmann::ordered_json;

struct doctor_options {
    std::vector<std::string> command;
    bool                     json = false;
};

// What was found, in the order in which it is shown: a name and a line.
class findings {
public:
    void add(const std::string & name, const std::string & line) { lines_[name].push_back(line); }

    std::string text() const {
        std::string out;
        for (const auto & [name, lines] : lines_.items()) {
            for (size_t i = 0; i < lines.size(); ++i) {
                out += fmt::format("{:<11} {}\n", i == 0 ? name : "", printable(lines[i].get<std::string>()));
            }
        }
        return out;
    }
    const ordered_json & json() const { return lines_; }

private:
    ordered_json lines_ = ordered_json::object();
};

std::string recorder_line() {
    try {
        return recorder::find_recorder_library();
    } catch (const error & e) {
        return std::string("missing: ") + e.what();
    }
}

std::string duckdb_line() {
    try {
        sql::database database({});
        return "found: sql and export -f parquet work";
    } catch (const error & e) {
        return e.what();
    }
}

std::string space_line() {
    std::error_code ignored;
    const auto      space = std::filesystem::space(".", ignored);
    return ignored ? "unknown" : human_bytes(space.available) + " free in this folder";
}

findings examine_machine() {
    findings f;
    utsname  u = {};
    ::uname(&u);
    f.add("moescope", fmt::format("{} on {} {} ({}), glibc {}", version, u.sysname, u.release, u.machine,
                                  ::gnu_get_libc_version()));
    f.add("recorder", recorder_line());
    f.add("llama.cpp",
          fmt::format("ggml {} in {}, which run and profile use", infer::own_ggml_version(), infer::own_ggml_folder()));
    for (const std::string & device : infer::list_devices()) {
        f.add("devices", device);
    }
    f.add("DuckDB", duckdb_line());
    f.add("MPI", profile::ranks_possible() ? "profile can run on several machines under mpirun"
                                           : "not in this build: profile runs on one machine");
    f.add("space", space_line());
    return f;
}

std::string describe_part(const recorder::llama_part & part) {
    std::string line = part.path;
    if (part.has_ggml) {
        line += part.ggml_version.empty() ? " (ggml of a version that does not say so)" : " (ggml " + part.ggml_version;
        line += part.ggml_version.empty()                                ? ""
                : capture::known_ggml_version(part.ggml_version.c_str()) ? ", tested)"
                                                                         : ", not tested: a self-test decides)";
    }
    return line;
}

// What is known of one program before it runs.
struct diagnosis {
    findings    found;
    std::string why_not;        // one line; empty: it can be recorded
    std::string note;           // what to know or do then
    bool        dense = false;  // a model on the command line has no experts
};

void examine_models(diagnosis & d, const std::vector<std::string> & command) {
    for (size_t i = 1; i < command.size(); ++i) {
        std::error_code ignored;
        if (!std::filesystem::is_regular_file(command[i], ignored) || !gguf::is_gguf(command[i])) {
            continue;
        }
        try {
            const gguf::moe_shape shape = gguf::read_moe_shape(gguf::model_file(command[i]).metadata());
            d.dense                     = d.dense || shape.n_expert == 0;
            d.found.add("model", shape.n_expert == 0
                                     ? fmt::format("{}: {}, no MoE layers", command[i], shape.arch)
                                     : fmt::format("{}: {}, {} layers, {} experts, top-{}", command[i], shape.arch,
                                                   shape.n_layer, shape.n_expert, shape.n_expert_used_max()));
        } catch (const error & e) {
            d.found.add("model", std::string("unreadable: ") + e.what());
        }
    }
}

// llama.cpp that comes into the process later, or through another program.
void examine_later(diagnosis & d, const recorder::program & p, const std::vector<std::string> & command) {
    const auto nearby = recorder::parts_nearby(command, p.path);
    for (const recorder::llama_part & part : nearby) {
        d.found.add("may load", describe_part(part));
    }
    const auto started = p.script.empty() ? std::vector<std::string>() : recorder::programs_named_in(p.script);
    for (const std::string & program : started) {
        d.found.add("may start", program);
    }
    if (!nearby.empty()) {
        d.note = "it has no llama.cpp itself; what it loads while it runs is recorded";
    } else if (!started.empty()) {
        d.note = "it has no llama.cpp itself; --follow records the programs that it starts";
    } else {
        d.note =
            "no llama.cpp found in it or beside it; if it loads one, or starts a program that has (--follow), that is "
            "recorded";
    }
}

diagnosis examine_program(const std::vector<std::string> & command) {
    diagnosis d;
    try {
        const recorder::program p = recorder::check_program(command.front());
        d.found.add("program", p.script.empty() ? p.path + ", dynamically linked" : p.script + ", run by " + p.path);
        const auto linked = recorder::ask_linker(p.path);
        for (const recorder::llama_part & part : linked.parts) {
            d.found.add("libraries", describe_part(part));
        }
        if (!linked.missing.empty()) {
            throw error(fmt::format("it cannot start, because {} is not found", fmt::join(linked.missing, ", ")))
                .in(p.path)
                .fix("let LD_LIBRARY_PATH name the folder");
        }
        if (linked.parts.empty()) {
            examine_later(d, p, command);
        }
        examine_models(d, command);
        if (d.dense) {
            d.why_not = "the model has no experts";
        }
    } catch (const error & e) {
        d.why_not = e.what();
    }
    return d;
}

std::string verdict(const diagnosis & d, const std::vector<std::string> & command) {
    if (!d.why_not.empty()) {
        return "nothing can be recorded: " + d.why_not;
    }
    return (d.note.empty() ? "can be recorded" : d.note) +
           fmt::format(": moescope record -- {}", fmt::join(command, " "));
}

void run_doctor(const doctor_options & o) {
    const findings machine = examine_machine();
    ordered_json   json    = {{"machine", machine.json()}};
    std::string    text    = machine.text();
    bool           failed  = false;
    if (!o.command.empty()) {
        const diagnosis d = examine_program(o.command);
        failed            = !d.why_not.empty();
        text += "\n" + d.found.text() + fmt::format("{:<11} {}\n", "verdict", printable(verdict(d, o.command)));
        json["program"]    = d.found.json();
        json["can_record"] = !failed;
        json["verdict"]    = verdict(d, o.command);
    }
    text = o.json ? to_text(json) : text;
    std::fwrite(text.data(), 1, text.size(), stdout);
    if (failed) {
        throw exit_with{1};
    }
}

}  // namespace

void add_doctor(CLI::App & app) {
    const auto o    = std::make_shared<doctor_options>();
    CLI::App & verb = *app.add_subcommand("doctor", "what can be recorded here and in a program, and why not");
    verb.footer(
        "The program is not run: its file, the libraries that the dynamic linker would load for it, packages beside it\n"
        "and the models on its command line are looked at. The exit code is 1 where nothing of it can be recorded.");
    verb.add_flag("--json", o->json, "print JSON");
    verb.add_option("command", o->command, "the program and its arguments, after --")->type_name("");
    add_examples(verb, {{"moescope doctor", "what this installation can do on this machine"},
                        {"moescope doctor -- llama-server -m model.gguf",
                         "whether that program can be recorded with that model"},
                        {"moescope doctor -- node app.mjs", "which llama.cpp a Node program will load"}});
    verb.callback([o] { run_doctor(*o); });
}

}  // namespace moescope::cli
