#pragma once

// What run and profile share: a command line that mixes moescope's options with llama.cpp's own.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/llama/llama_options.hpp"
#include "infer/llama_log.hpp"

namespace CLI {
class App;
}
struct common_params;

namespace moescope::cli {

// A verb whose own options are declared on own() as usual; everything else goes to llama.cpp's parser.
class model_verb {
public:
    model_verb(const std::string & name, const std::string & description, llama_purpose purpose);
    ~model_verb();

    // Adds the verb to `app`, which then keeps it. `action` runs once the command line is split and the own options are parsed.
    static void add(CLI::App & app, std::shared_ptr<model_verb> verb, std::function<void()> action);

    CLI::App &       own() { return *own_; }
    const CLI::App & own() const { return *own_; }

    // llama.cpp's options, of which those that are not refused may follow.
    const llama_options & llama() const;

    void print_help() const;

    // Whether llama.cpp's option (under any of its names) was given.
    bool given(const std::string & name) const;
    // Its last value, or empty.
    std::string value_of(const std::string & name) const;

    // llama.cpp's arguments parsed over `params`; its warnings become notes. Throws usage_error.
    void parse_llama(common_params & params) const;

private:
    void                     split(const std::vector<std::string> & args);
    void                     print_llama_help() const;
    bool                     take_own(const std::vector<std::string> & args, size_t & i);
    bool                     take_llama(const std::vector<std::string> & args, size_t & i);
    std::vector<std::string> option_names() const;

    std::string                            name_;
    std::unique_ptr<CLI::App>              own_;
    llama_purpose                          purpose_;
    mutable std::unique_ptr<llama_options> llama_;  // made when first needed: it loads the backends
    std::vector<std::string>               own_args_, llama_args_;
};

// The verb that model_verb::add put there, or null: a verb of another kind.
const model_verb * model_verb_of(const CLI::App & app);

// llama.cpp's log, shown on stderr where `verbose`, else kept for error messages only.
std::unique_ptr<infer::llama_log> route_llama_log(bool verbose);

// The files that a run of the model reads: its own, and its adapters'.
std::vector<std::string> model_inputs(const common_params & params);

// Says once that a -ngl the user gave can have no effect in this build.
void note_useless_offload(const model_verb & verb, const common_params & params);

}  // namespace moescope::cli
