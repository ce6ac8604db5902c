#include "cli/terminal/progress.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include <fmt/format.h>

#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"

namespace moescope::cli {

namespace {

uint64_t now_ns() {
    return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

}  // namespace

progress::progress(std::string what, uint64_t total, std::string unit)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      started_ns_(now_ns()) {}

progress::~progress() {
    if (drawn_ && is_terminal(stderr)) {
        clear_drawn_line();
    }
}

void progress::update(double done, const std::string & extra) {
    constexpr uint64_t bar_every_ns = 100'000'000, line_every_ns = 5'000'000'000;
    const uint64_t     now   = now_ns();
    const uint64_t     since = drawn_ns_ ? drawn_ns_ : started_ns_;
    if (is_quiet() || now - since < (is_terminal(stderr) ? bar_every_ns : line_every_ns)) {
        return;
    }
    drawn_ns_ = now;
    drawn_    = true;
    draw(done, extra);
}

void progress::draw(double done, const std::string & extra) {
    const double elapsed = static_cast<double>(drawn_ns_ - started_ns_) / 1e9;
    const double total   = static_cast<double>(total_);
    std::string  line    = fmt::format("{}: {}", what_, with_commas(static_cast<uint64_t>(done)));
    if (total_ > 0) {
        const double percent = 100 * done / total;
        line += fmt::format(" of {} {} ({:.{}f} %)", with_commas(total_), unit_, percent, percent < 10 ? 1 : 0);
        if (done > 0 && done < total) {
            line += ", " + human_duration(elapsed * (total - done) / done) + " left";
        }
    } else {
        line += " " + unit_;
    }
    if (!extra.empty()) {
        line += ", " + extra;
    }
    if (!is_terminal(stderr)) {
        say_line(line);
        return;
    }
    constexpr int bar_cells = 20;
    std::string   bar;
    if (total_ > 0) {
        const int full = static_cast<int>(bar_cells * std::min(done / total, 1.0));
        for (int i = 0; i < bar_cells; ++i) {
            bar += i < full ? "█" : "░";
        }
        bar += " ";
    }
    draw_line(bar + printable(line));
}

}  // namespace moescope::cli
