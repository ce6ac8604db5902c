#include "cli/terminal/interrupt.hpp"

#include <csignal>

namespace moescope::cli {

namespace {

volatile std::sig_atomic_t signal_seen = 0;  // signals are the process's, not an object's

void remember(int number) {
    signal_seen = number;
    std::signal(number, SIG_DFL);
}

}  // namespace

interrupt_guard::interrupt_guard() {
    signal_seen = 0;
    std::signal(SIGINT, remember);
    std::signal(SIGTERM, remember);
}

interrupt_guard::~interrupt_guard() {
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
}

bool interrupt_guard::requested() {
    return signal_seen != 0;
}

int interrupt_guard::exit_code() {
    return 128 + signal_seen;
}

}  // namespace moescope::cli
