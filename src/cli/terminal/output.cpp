#include "cli/terminal/output.hpp"

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "core/error.hpp"
#include "gguf/model_file.hpp"
#include "io/output_file.hpp"
#include "trace/format.hpp"

namespace moescope::cli {

namespace {

bool quiet_mode = false;  // one process, one terminal

uint64_t now_ns() {
    return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

}  // namespace

void add_output_options(CLI::App & verb, output_options & o, const std::string & what) {
    verb.add_option("-o,--output", o.path, what)->type_name("FILE");
    verb.add_flag("--force", o.force, "replace an existing file");
}

std::vector<std::string> files_of(const std::vector<std::string> & inputs) {
    std::vector<std::string> files;
    for (const std::string & input : inputs) {
        for (std::string & part : gguf::paths_by_name(input)) {
            files.push_back(std::move(part));
        }
        for (uint32_t part = 2; ::access(trace::part_path(input, part).c_str(), F_OK) == 0; ++part) {
            files.push_back(trace::part_path(input, part));
        }
    }
    return files;
}

io::existing_file policy_of(bool force) {
    return force ? io::existing_file::replace : io::existing_file::refuse;
}

void check_output(const output_options & o) {
    if (o.path != "-") {
        io::output_file::check(o.path, policy_of(o.force), files_of(o.inputs));
    }
}

void write_output(const output_options & o, const std::function<void(std::FILE *)> & write) {
    if (o.path == "-") {
        write(stdout);
        if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
            throw error(std::string("cannot write: ") + std::strerror(errno)).in("stdout");
        }
        return;
    }
    io::output_file file(o.path, policy_of(o.force), files_of(o.inputs));
    write(file.stream());
    file.commit();
}

void set_quiet(bool quiet) {
    quiet_mode = quiet;
}

void note(const std::string & line) {
    if (!quiet_mode) {
        fmt::print(stderr, "moescope: {}\n", line);
    }
}

bool stdout_is_terminal() {
    return ::isatty(STDOUT_FILENO) == 1;
}

bool stderr_is_terminal() {
    return ::isatty(STDERR_FILENO) == 1;
}

int terminal_width() {
    winsize w = {};
    return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 100;
}

bool use_color() {
    const char * no_color = std::getenv("NO_COLOR");
    return stdout_is_terminal() && (no_color == nullptr || *no_color == '\0');
}

progress::progress(std::string what, uint64_t total, std::string unit)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      started_ns_(now_ns()) {}

progress::~progress() {
    if (drawn_ && stderr_is_terminal()) {
        fmt::print(stderr, "\r\033[K");
    }
}

void progress::update(uint64_t done, const std::string & extra) {
    constexpr uint64_t bar_every_ns = 100'000'000, line_every_ns = 5'000'000'000;
    const uint64_t     now   = now_ns();
    const uint64_t     since = drawn_ns_ ? drawn_ns_ : started_ns_;
    if (quiet_mode || now - since < (stderr_is_terminal() ? bar_every_ns : line_every_ns)) {
        return;
    }
    drawn_ns_ = now;
    drawn_    = true;
    draw(done, extra);
}

void progress::draw(uint64_t done, const std::string & extra) {
    const double elapsed = static_cast<double>(drawn_ns_ - started_ns_) / 1e9;
    std::string  line    = fmt::format("{}: {}", what_, with_commas(done));
    if (total_ > 0) {
        line += fmt::format(" of {} {} ({:.0f} %)", with_commas(total_), unit_, 100.0 * double(done) / double(total_));
        if (done > 0 && done < total_) {
            line += ", " + human_duration(elapsed * double(total_ - done) / double(done)) + " left";
        }
    } else {
        line += " " + unit_;
    }
    if (!extra.empty()) {
        line += ", " + extra;
    }
    if (!stderr_is_terminal()) {
        fmt::print(stderr, "moescope: {}\n", line);
        return;
    }
    constexpr int bar_cells = 20;
    std::string   bar;
    if (total_ > 0) {
        const int full = static_cast<int>(bar_cells * std::min(done, total_) / total_);
        for (int i = 0; i < bar_cells; ++i) {
            bar += i < full ? "█" : "░";
        }
        bar += " ";
    }
    fmt::print(stderr, "\r{}{}\033[K", bar, line);
}

std::string with_commas(uint64_t n) {
    std::string digits = std::to_string(n);
    for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) {
        digits.insert(static_cast<size_t>(at), ",");
    }
    return digits;
}

std::string human_bytes(uint64_t n) {
    static constexpr const char * units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double                        value   = static_cast<double>(n);
    size_t                        unit    = 0;
    while (value >= 1024 && unit + 1 < std::size(units)) {
        value /= 1024;
        ++unit;
    }
    return unit == 0 ? fmt::format("{} B", n) : fmt::format("{:.2f} {}", value, units[unit]);
}

std::string human_duration(double seconds) {
    if (seconds < 1) {
        return fmt::format("{:.0f} ms", seconds * 1e3);
    }
    if (seconds < 60) {
        return fmt::format("{:.1f} s", seconds);
    }
    const auto minutes = static_cast<uint64_t>(seconds / 60);
    if (minutes < 60) {
        return fmt::format("{} min {:02.0f} s", minutes, std::floor(seconds - 60.0 * double(minutes)));
    }
    return fmt::format("{} h {:02} min", minutes / 60, minutes % 60);
}

uint64_t parse_bytes(const std::string & text, const std::string & option) {
    char *            rest   = nullptr;
    const double      value  = std::strtod(text.c_str(), &rest);
    const std::string suffix = rest;
    int               shift  = -1;
    if (suffix.empty() || suffix == "B") {
        shift = 0;
    } else if (suffix.size() == 1 || suffix.substr(1) == "iB" || suffix.substr(1) == "B") {
        const size_t at = std::string("KMGT").find(static_cast<char>(std::toupper(suffix[0])));
        shift           = at == std::string::npos ? -1 : static_cast<int>(10 * (at + 1));
    }
    if (rest == text.c_str() || shift < 0 || !(value >= 0) || value > 1e15) {
        throw usage_error(option + " takes a size in bytes such as 512, 64K, 1.5G, not '" + text + "'");
    }
    return static_cast<uint64_t>(std::ldexp(value, shift));
}

std::string printable(const std::string & text) {
    std::string out;
    for (size_t i = 0; i < text.size();) {
        const auto   c  = static_cast<unsigned char>(text[i]);
        const size_t n  = c < 0x80                ? 1
                          : c >= 0xf0 && c < 0xf5 ? 4
                          : c >= 0xe0 && c < 0xf0 ? 3
                          : c >= 0xc2 && c < 0xe0 ? 2
                                                  : 0;
        bool         ok = n > 0 && i + n <= text.size();
        for (size_t j = 1; ok && j < n; ++j) {
            ok = (static_cast<unsigned char>(text[i + j]) & 0xc0) == 0x80;
        }
        const bool control = n == 1 && (c < 0x20 || c == 0x7f);
        const bool c1      = n == 2 && c == 0xc2 && ok && static_cast<unsigned char>(text[i + 1]) < 0xa0;
        if (ok && !control && !c1) {
            out += text.substr(i, n);
            i += n;
            continue;
        }
        out += c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : fmt::format("\\x{:02x}", c);
        i += 1;
    }
    return out;
}

}  // namespace moescope::cli
