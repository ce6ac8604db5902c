#include "cli/llama/model_verb.hpp"

#include <algorithm>
#include <cstdio>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "common.h"

#include "cli/help/nearest.hpp"
#include "cli/help/unknown.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"
#include "io/path.hpp"

namespace moescope::cli {

namespace {

bool looks_like_option(const std::string & text) {
    return text.size() > 1 && text[0] == '-' && !(text[1] >= '0' && text[1] <= '9') && text[1] != '.';
}

// "--ctx-size=2048" -> "--ctx-size", "2048": llama.cpp's parser does not know that form.
bool cut_value(const std::string & arg, std::string & name, std::string & value) {
    const size_t at = arg.find('=');
    if (arg.rfind("--", 0) != 0 || at == std::string::npos) {
        return false;
    }
    name  = arg.substr(0, at);
    value = arg.substr(at + 1);
    return true;
}

// What CLI11 has of the verb: its name, and where the rest is.
class model_app : public CLI::App {
public:
    explicit model_app(std::shared_ptr<model_verb> v, const std::string & name)
        : App(v->own().get_description(), name),
          verb(std::move(v)) {}

    const std::shared_ptr<model_verb> verb;
};

}  // namespace

model_verb::model_verb(const std::string & name, const std::string & description, llama_purpose purpose)
    : name_(name),
      own_(std::make_unique<CLI::App>(description)),
      purpose_(purpose) {
    own_->name("moescope " + name);
    own_->get_formatter()->column_width(34);
}

model_verb::~model_verb() = default;

void model_verb::add(CLI::App & app, std::shared_ptr<model_verb> verb, std::function<void()> action) {
    CLI::App * sub = app.add_subcommand(std::make_shared<model_app>(verb, verb->name_));
    // CLI11 would take llama.cpp's -ngl for -n -g -l, so the verb's arguments reach us untouched.
    sub->prefix_command();
    sub->set_help_flag();
    sub->callback([sub, verb, action = std::move(action)] {
        verb->split(sub->remaining());
        std::vector<std::string> reversed(verb->own_args_.rbegin(), verb->own_args_.rend());  // as CLI11 wants them
        verb->own_->parse(reversed);
        action();
    });
}

const model_verb * model_verb_of(const CLI::App & app) {
    const auto * model = dynamic_cast<const model_app *>(&app);
    return model == nullptr ? nullptr : model->verb.get();
}

const llama_options & model_verb::llama() const {
    if (!llama_) {
        llama_ = std::make_unique<llama_options>(purpose_);
    }
    return *llama_;
}

void model_verb::split(const std::vector<std::string> & args) {
    for (size_t i = 0; i < args.size(); ++i) {
        if (args[i] == "-h" || args[i] == "--help") {
            print_help();
            throw exit_with{0};
        }
        if (args[i] == "--help-llama") {
            print_llama_help();
            throw exit_with{0};
        }
        if (take_own(args, i) || take_llama(args, i)) {
            continue;
        }
        if (looks_like_option(args[i])) {
            throw usage_error("unknown option '" + args[i] + "'" + did_you_mean(args[i], option_names()) + " (see " +
                              own_->get_name() + " --help)");
        }
        throw usage_error("unexpected argument '" + args[i] + "' (see " + own_->get_name() + " --help)");
    }
}

std::vector<std::string> model_verb::option_names() const {
    std::vector<std::string> names = names_of_options(*own_);
    for (const auto & option : llama().all()) {
        if (!option.refused) {
            names.insert(names.end(), option.names.begin(), option.names.end());
        }
    }
    return names;
}

bool model_verb::take_own(const std::vector<std::string> & args, size_t & i) {
    std::string  name   = args[i], value;
    const bool   cut    = cut_value(args[i], name, value);
    const auto * option = looks_like_option(name) ? own_->get_option_no_throw(name) : nullptr;
    if (option == nullptr) {
        return false;
    }
    own_args_.push_back(args[i]);
    const int enough = option->get_expected_min(), most = option->get_expected_max();
    // A list that takes one value each time it is given still expects any number.
    const int wanted = cut ? 0 : most > 1 && !option->get_allow_extra_args() ? 1 : most;
    for (int n = 0; n < wanted && i + 1 < args.size() && !(n >= enough && looks_like_option(args[i + 1])); ++n) {
        own_args_.push_back(args[++i]);
    }
    return true;
}

bool model_verb::take_llama(const std::vector<std::string> & args, size_t & i) {
    std::string  name   = args[i], value;
    const bool   cut    = cut_value(args[i], name, value);
    const auto * option = llama().find(name);
    if (option == nullptr) {
        return false;
    }
    llama_args_.push_back(name);
    int wanted = option->n_values;
    if (cut && wanted > 0) {
        llama_args_.push_back(value);
        wanted -= 1;
    }
    for (; wanted > 0 && i + 1 < args.size(); --wanted) {
        llama_args_.push_back(args[++i]);
    }
    return true;
}

bool model_verb::given(const std::string & name) const {
    const auto * option = llama().find(name);
    return option != nullptr && std::any_of(llama_args_.begin(), llama_args_.end(), [&](const std::string & a) {
               return std::find(option->names.begin(), option->names.end(), a) != option->names.end();
           });
}

std::string model_verb::value_of(const std::string & name) const {
    const auto * option = llama().find(name);
    std::string  value;
    for (size_t i = 0; option != nullptr && i + 1 < llama_args_.size(); ++i) {
        if (std::find(option->names.begin(), option->names.end(), llama_args_[i]) != option->names.end()) {
            value = llama_args_[i + 1];
        }
    }
    return value;
}

void model_verb::parse_llama(common_params & params) const {
    for (const std::string & line : llama().parse(llama_args_, params)) {
        note("llama.cpp: " + printable(line));
    }
}

void model_verb::print_help() const {
    fmt::print(
        "{}\nllama.cpp's own options (-m MODEL, -c, -t, -ngl, …) have their usual meaning: {} --help-llama lists them.\n",
        own_->help(), own_->get_name());
}

void model_verb::print_llama_help() const {
    fmt::print("llama.cpp's own options, with their usual meaning:\n\n");
    for (const auto & option : llama().all()) {
        if (!option.refused) {
            fmt::print("{}", option.help);
        }
    }
}

std::unique_ptr<infer::llama_log> route_llama_log(bool verbose) {
    if (!verbose) {
        return std::make_unique<infer::llama_log>();
    }
    return std::make_unique<infer::llama_log>([](const std::string & text) { say(printable_lines(text)); });
}

std::vector<std::string> model_inputs(const common_params & params) {
    std::vector<std::string> files = {params.model.path};
    for (const common_adapter_lora_info & adapter : params.lora_adapters) {
        files.push_back(adapter.path);
    }
    return files;
}

void note_useless_offload(const model_verb & verb, const common_params & params) {
    if (verb.given("-ngl") && verb.value_of("-ngl") != "0" && !can_offload(params)) {
        note(
            "-ngl has no effect: this build of llama.cpp has no GPU backend (scripts/setup --cuda or --vulkan adds one)");
    }
}

}  // namespace moescope::cli
