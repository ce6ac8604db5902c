#include "cli/llama/llama_options.hpp"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <sstream>

#include <unistd.h>

#include "arg.h"
#include "common.h"
#include "ggml-backend.h"

#include "cli/llama/output_capture.hpp"
#include "core/error.hpp"
#include "infer/backends.hpp"

namespace moescope::cli {

namespace {

// They steer a conversation, a cache or a prompt layout that moescope does not have: better refused than silently ignored.
const std::set<std::string> never_here = {
    "--interactive",
    "--interactive-first",
    "--conversation",
    "--multiline-input",
    "--single-turn",
    "--prompt-cache",
    "--prompt-cache-all",
    "--prompt-cache-ro",
    "--in-prefix-bos",
    "--in-prefix",
    "--in-suffix",
    "--simple-io",
    "--color",
    "--print-token-count",
    "--verbose-prompt",
    "--grp-attn-n",
    "--grp-attn-w",
    "--context-shift",
    "--keep",
    "--completion-bash",
    "--version",
    "--cache-list",
    "--special",
    "--log-jsonl",
    "--backend-sampling",
};
const std::set<std::string> never_in_profile = {
    "--prompt",         "--file",          "--binary-file",        "--predict",
    "--escape",         "--system-prompt", "--system-prompt-file", "--reverse-prompt",
    "--display-prompt",
};
// Refusing these would only hurt people who paste a llama-completion line: they ask for what moescope does anyway.
const std::set<std::string> harmless = {"-no-cnv", "--no-conversation", "--no-context-shift", "--no-warmup",
                                        "--warmup"};

llama_example example_of(llama_purpose p) {
    return p == llama_purpose::generate ? LLAMA_EXAMPLE_COMPLETION : LLAMA_EXAMPLE_COMMON;
}

bool is_refused(const common_arg & arg, llama_purpose p) {
    return std::any_of(arg.args.begin(), arg.args.end(), [&](const std::string & name) {
        return never_here.count(name) ||
               (p == llama_purpose::profile && (arg.is_sampling || never_in_profile.count(name)));
    });
}

llama_options::option describe(const common_arg & arg, llama_purpose p) {
    llama_options::option o;
    o.names      = arg.get_args();
    o.n_values   = arg.handler_str_str ? 2 : arg.handler_int || arg.handler_string ? 1 : 0;
    o.is_int     = arg.handler_int != nullptr;
    o.value_hint = o.n_values == 0 || arg.value_hint == nullptr ? "" : arg.value_hint;
    if (o.n_values == 2 && arg.value_hint_2 != nullptr) {
        o.value_hint += std::string(" ") + arg.value_hint_2;
    }
    o.refused = is_refused(arg, p);
    o.help    = arg.to_string();
    o.text    = arg.help;
    return o;
}

bool is_whole_number(const std::string & text) {
    char * rest = nullptr;
    std::strtol(text.c_str(), &rest, 10);
    return !text.empty() && *rest == '\0';
}

std::vector<std::string> lines_of(const std::string & text) {
    std::vector<std::string> lines;
    std::istringstream       in(text);
    for (std::string line; std::getline(in, line);) {
        if (!line.empty()) {
            lines.push_back(line);
        }
    }
    return lines;
}

std::string without(std::string text, const std::string & prefix) {
    return text.rfind(prefix, 0) == 0 ? text.substr(prefix.size()) : text;
}

// llama.cpp answers `error while handling argument "-c": stoi`, a blank line, and the option's help.
std::string explain(const std::string & said, const llama_options & options, const std::vector<std::string> & args) {
    const auto        lines = lines_of(said);
    const std::string first = lines.empty() ? "llama.cpp refuses the options" : lines.front();
    const std::string head  = "error while handling argument \"";
    if (first.rfind(head, 0) != 0) {
        return without(first, "error: ");
    }
    const std::string name  = first.substr(head.size(), first.find('"', head.size()) - head.size());
    std::string       cause = without(first.substr(head.size() + name.size() + 1), ": ");
    cause                   = without(cause, "error: ");
    if (cause == "stoi" || cause == "stof" || cause == "stoul" || cause == "stoll") {
        cause = "not a number";
    }
    const auto *      option = options.find(name);
    const auto        at     = std::find(args.rbegin(), args.rend(), name);
    const std::string given  = at == args.rend() || at == args.rbegin() ? "" : " '" + *(at - 1) + "'";
    return name + given + ": " + cause + (option ? " (" + name + " takes " + option->value_hint + ")" : "");
}

// A download shows its progress, and --list-devices what it was asked for.
bool speaks(const std::vector<std::string> & args) {
    static const std::set<std::string> names = {"-hf",         "-hfr", "--hf-repo",     "-mu",
                                                "--model-url", "-dr",  "--docker-repo", "--list-devices"};
    return std::any_of(args.begin(), args.end(), [&](const std::string & a) { return names.count(a) != 0; });
}

}  // namespace

llama_options::llama_options(llama_purpose p) : purpose_(p) {
    infer::load_backends();
    common_params scratch;
    for (const common_arg & arg : common_params_parser_init(scratch, example_of(p)).options) {
        if (!arg.is_preset_only && std::string(arg.args.front()) != "-h") {
            options_.push_back(describe(arg, p));
        }
    }
}

llama_options::~llama_options() = default;

const llama_options::option * llama_options::find(const std::string & arg) const {
    std::string name = arg;
    if (name.rfind("--", 0) == 0) {
        std::replace(name.begin(), name.end(), '_', '-');
    }
    for (const option & o : options_) {
        if (std::find(o.names.begin(), o.names.end(), name) != o.names.end()) {
            return &o;
        }
    }
    return nullptr;
}

void llama_options::check_values(const std::vector<std::string> & args) const {
    for (size_t i = 0; i < args.size(); ++i) {
        const option * o = find(args[i]);
        if (o == nullptr) {
            throw usage_error("unknown option '" + args[i] + "'");
        }
        if (o->refused && !harmless.count(args[i])) {
            throw usage_error(args[i] + " has no effect here");
        }
        if (i + o->n_values >= args.size()) {
            throw usage_error(args[i] + " takes " + o->value_hint + ", but no value follows");
        }
        if (o->is_int && !is_whole_number(args[i + 1])) {
            throw usage_error(args[i] + " takes a whole number (" + o->value_hint + "), not '" + args[i + 1] + "'");
        }
        i += static_cast<size_t>(o->n_values);
    }
}

std::vector<std::string> llama_options::parse(const std::vector<std::string> & args, common_params & params) const {
    check_values(args);
    std::vector<std::string> owned = {"moescope"};
    owned.insert(owned.end(), args.begin(), args.end());
    std::vector<char *> argv;
    for (std::string & a : owned) {
        argv.push_back(a.data());
    }
    std::unique_ptr<output_capture> out, err;
    if (!speaks(args)) {
        out = std::make_unique<output_capture>(STDOUT_FILENO);
        err = std::make_unique<output_capture>(STDERR_FILENO);
    }
    const bool parsed = common_params_parse(static_cast<int>(argv.size()), argv.data(), params, example_of(purpose_));
    const std::string said = err ? err->release() : "";
    out.reset();
    if (!parsed) {
        throw usage_error(explain(said, *this, args));
    }
    auto lines = lines_of(said);
    // llama.cpp's words on a missing GPU are three lines; the caller has its own one.
    lines.erase(std::remove_if(lines.begin(), lines.end(),
                               [](const std::string & l) {
                                   return l.find("GPU") != std::string::npos ||
                                          l.find("docs/build.md") != std::string::npos;
                               }),
                lines.end());
    return lines;
}

bool can_offload(const common_params & params) {
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
        const auto type = ggml_backend_dev_type(ggml_backend_dev_get(i));
        if (type == GGML_BACKEND_DEVICE_TYPE_GPU || type == GGML_BACKEND_DEVICE_TYPE_IGPU) {
            return true;  // RPC servers register as GPUs, too
        }
    }
    return !params.devices.empty();
}

}  // namespace moescope::cli
