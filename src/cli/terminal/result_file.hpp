#pragma once

// Where a verb's result goes: stdout, or a file that is there as a whole or not at all.

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "io/existing_file.hpp"

namespace CLI {
class App;  // its header is heavy, and only the files that parse need it
}

namespace moescope::cli {

struct output_options {
    std::string              path   = "-";    // "-": stdout
    bool                     force  = false;  // replace an existing file
    std::vector<std::string> inputs = {};     // what the verb reads, and so never writes; empty names count for nothing
};

// Adds -o/--output and --force.
void add_output_options(CLI::App & verb, output_options & o, const std::string & what);

// Writes a result whole or not at all: to stdout, or to a file that appears when `write` returned (io::output_file).
// Throws error when the file exists (without force), cannot be written, or the disk is full, and usage_error when it is one
// of the inputs.
void write_output(const output_options & o, const std::function<void(std::FILE *)> & write);
void write_text(const output_options & o, const std::string & text);  // bytes, too

// Throws what write_output would throw of the name, for verbs that work long before they write.
void check_output(const output_options & o);

// The files that inputs consist of: with the further parts of traces, and all parts of split models.
std::vector<std::string> files_of(const std::vector<std::string> & inputs);

io::existing_file policy_of(bool force);

// Throws error when the output exists (without force) or cannot be made, usage_error when it is one of the inputs: better
// told before a long run than after it.
void require_writable(const std::string & path, bool force, const std::vector<std::string> & inputs);

}  // namespace moescope::cli
