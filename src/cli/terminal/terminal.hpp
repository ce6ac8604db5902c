#pragma once

// Terminal manners: the only code that knows whether a person or a program reads a stream.

#include <cstdio>
#include <string>

namespace moescope::cli {

bool is_terminal(std::FILE * stream);
int  terminal_width(std::FILE * stream);  // its terminal's columns, else 100
bool wants_color(std::FILE * stream);     // a terminal, and NO_COLOR is not set

// "moescope: LINE" on stderr, silent after set_quiet(true) (-q).
void note(const std::string & line);
void set_quiet(bool quiet);
bool is_quiet();

}  // namespace moescope::cli
