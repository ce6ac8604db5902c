#include "cli/terminal/terminal.hpp"

#include <algorithm>
#include <cstdlib>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "cli/terminal/text.hpp"
#include "io/write_whole.hpp"

namespace moescope::cli {

namespace {

bool quiet_mode = false;  // of the process, as stderr is
bool drawn      = false;  // a line that is drawn over stands on stderr

}  // namespace

bool is_terminal(std::FILE * stream) {
    return ::isatty(::fileno(stream)) == 1;
}

int terminal_width(std::FILE * stream) {
    winsize w = {};
    return ::ioctl(::fileno(stream), TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 100;
}

int terminal_height(std::FILE * stream) {
    winsize w = {};
    return ::ioctl(::fileno(stream), TIOCGWINSZ, &w) == 0 ? w.ws_row : 0;
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

void say(const std::string & text) {
    std::fflush(stderr);  // what a library put there comes before
    (void)io::write_whole(STDERR_FILENO, text.data(), text.size());
}

void say_line(const std::string & line) {
    say("moescope: " + printable(line) + "\n");
}

void draw_line(const std::string & line) {
    // A line that wraps could not be drawn over; one that fills its row wraps on some terminals.
    say(fmt::format("\r{}\033[K", cut_to_width(line, static_cast<size_t>(std::max(1, terminal_width(stderr) - 1)))));
    drawn = true;
}

void clear_drawn_line() {
    if (drawn) {
        say("\r\033[K");
        drawn = false;
    }
}

void note(const std::string & line) {
    if (!quiet_mode) {
        clear_drawn_line();
        say_line(line);
    }
}

void open_standard_streams() {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
        if (::fcntl(fd, F_GETFD) < 0) {
            (void)::open("/dev/null",
                         (fd == STDIN_FILENO ? O_RDONLY : O_WRONLY) | O_CLOEXEC);  // takes the lowest number
        }
    }
}

}  // namespace moescope::cli
