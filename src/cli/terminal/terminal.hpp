#pragma once

// Terminal manners: the only code that knows whether a person or a program reads a stream.

#include <cstdio>
#include <string>

namespace moescope::cli {

bool is_terminal(std::FILE * stream);
int  terminal_width(std::FILE * stream);   // its terminal's columns, else 100
int  terminal_height(std::FILE * stream);  // its terminal's lines, else 0
bool wants_color(std::FILE * stream);      // a terminal, and NO_COLOR is not set

// A line on stderr's terminal that is drawn over: cut to the terminal's width, and gone before note() or clear_drawn_line()
// lets anything else be printed.
void draw_line(const std::string & line);
void clear_drawn_line();

// The only way to stderr. Nothing that is printed there ends anything: a closed or full stderr, or one that nobody reads,
// loses the text and no more.
void say(const std::string & text);

// "moescope: LINE" on stderr. The line may hold foreign text (names, what a file says): it is made printable here.
void say_line(const std::string & line);
// The same, silent after set_quiet(true) (-q).
void note(const std::string & line);

// Descriptors 0 to 2 that are closed lead to /dev/null from here on, in this process and not in those that it starts: else the
// next file that is opened takes the number, and messages are written into it.
void open_standard_streams();

void set_quiet(bool quiet);
bool is_quiet();

}  // namespace moescope::cli
