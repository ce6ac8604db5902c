#pragma once

#include <memory>
#include <string>
#include <vector>

struct common_params;

namespace moescope::cli {

// What a verb does with a model decides which of llama.cpp's options mean something to it.
enum class llama_purpose { generate, profile };

// llama.cpp's own command-line options with their usual names and meaning: its `common` parser, and what one must know of
// its table to tell its options from moescope's.
class llama_options {
public:
    explicit llama_options(llama_purpose p);
    ~llama_options();

    struct option {
        std::vector<std::string> names;  // "-c", "--ctx-size"
        int                      n_values = 0;
        std::string              value_hint;  // "N"; empty where n_values is 0
        bool                     is_int  = false;
        bool                     refused = false;  // exists in llama.cpp, but has no meaning here
        std::string              help;             // as llama.cpp prints it, with names
        std::string              text;             // what it says in there
    };

    // The option that `arg` names (an underscore in a long name counts as a hyphen), or null: not llama.cpp's.
    const option *              find(const std::string & arg) const;
    const std::vector<option> & all() const { return options_; }

    // Lets llama.cpp parse `args` over the defaults in `params`. Returns what llama.cpp said about them (warnings), a line each.
    // Throws usage_error in one line naming the option. llama.cpp itself leaves the process for a few (--list-devices).
    std::vector<std::string> parse(const std::vector<std::string> & args, common_params & params) const;

private:
    void check_values(const std::vector<std::string> & args) const;

    llama_purpose       purpose_;
    std::vector<option> options_;
};

// Whether this build and the given options have a device that -ngl could put layers on.
bool can_offload(const common_params & params);

}  // namespace moescope::cli
