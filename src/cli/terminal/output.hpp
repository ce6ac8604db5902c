#pragma once

// Terminal manners and finished files: the only code that knows whether a person or a program reads.

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "io/existing_file.hpp"

namespace CLI {
class App;  // its header is heavy, and only the files that parse need it
}

namespace moescope::cli {

// ---- results: stdout or a file ----------------------------------------------------------------------------------

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

// Throws what write_output would throw of the name, for verbs that work long before they write.
void check_output(const output_options & o);

// The files that inputs consist of: with the further parts of traces, and all parts of split models.
std::vector<std::string> files_of(const std::vector<std::string> & inputs);

io::existing_file policy_of(bool force);

// ---- notes and progress: stderr ---------------------------------------------------------------------------------

void note(const std::string & line);  // "moescope: LINE" on stderr, silent with -q
void set_quiet(bool quiet);

bool stdout_is_terminal();
bool stderr_is_terminal();
int  terminal_width();  // columns of stdout's terminal, else 100
bool use_color();       // stdout is a terminal and NO_COLOR is not set

// A bar on a terminal, a line every few seconds elsewhere, silent with -q. Counts to `total` (0: unknown).
class progress {
public:
    progress(std::string what, uint64_t total, std::string unit);
    ~progress();                                                 // clears the bar
    void update(uint64_t done, const std::string & extra = {});  // extra: e.g. "1,234 tokens/s"

private:
    void draw(uint64_t done, const std::string & extra);

    std::string what_, unit_;
    uint64_t    total_;
    uint64_t    started_ns_, drawn_ns_ = 0;
    bool        drawn_ = false;
};

// ---- numbers for people -----------------------------------------------------------------------------------------

std::string with_commas(uint64_t n);         // 1,234,567
std::string human_bytes(uint64_t n);         // 4.20 MiB
std::string human_duration(double seconds);  // 1 h 02 min, 3.1 s, 42 ms

// "512", "64K", "1.5G" -> bytes (binary multiples). Throws usage_error naming the option.
uint64_t parse_bytes(const std::string & text, const std::string & option);

// Untrusted text (token pieces, names) made safe for a terminal: control characters and invalid UTF-8 escaped.
std::string printable(const std::string & text);

}  // namespace moescope::cli
