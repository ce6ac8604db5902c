#include "cli/terminal/terminal.hpp"

#include <cstdlib>

#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

namespace moescope::cli {

namespace {

bool quiet_mode = false;  // of the process, as stderr is

}  // namespace

bool is_terminal(std::FILE * stream) {
    return ::isatty(::fileno(stream)) == 1;
}

int terminal_width(std::FILE * stream) {
    winsize w = {};
    return ::ioctl(::fileno(stream), TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 100;
}

bool wants_color(std::FILE * stream) {
    const char * no_color = std::getenv("NO_COLOR");
    return is_terminal(stream) && (no_color == nullptr || *no_color == '\0');
}

void set_quiet(bool quiet) {
    quiet_mode = quiet;
}

bool is_quiet() {
    return quiet_mode;
}

void note(const std::string & line) {
    if (!quiet_mode) {
        fmt::print(stderr, "moescope: {}\n", line);
    }
}

}  // namespace moescope::cli
