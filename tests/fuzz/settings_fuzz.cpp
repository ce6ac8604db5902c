// libFuzzer target: the recorder's environment, as lines NAME=value. Settings are read, or refused with usage_error; what was read
// says what the variables say, and masks and capture lists read back from their own text.

#include <cmath>
#include <sstream>
#include <vector>

#include "common.hpp"
#include "core/error.hpp"
#include "recorder/environment.hpp"
#include "recorder/injected/settings.hpp"

using namespace moescope;
using fuzz::promised;
namespace env = recorder::environment;

namespace {

constexpr const char * names[] = {
    env::output,   env::capture,        env::layers,    env::no_text,       env::no_tokens, env::mask,
    env::stats,    env::names,          env::per_layer, env::stats_output,  env::log_csv,   env::counts_only,
    env::max_size, env::half_precision, env::nop,       env::only_child_of, env::follow,    env::status};

// Lines that name none of the variables are left out, as are bytes that no variable can hold.
void set_environment(const std::string & lines) {
    for (const char * name : names) {
        ::unsetenv(name);
    }
    std::istringstream in(lines);
    for (std::string line; std::getline(in, line);) {
        for (const char * name : names) {
            if (line.find('\0') == std::string::npos && line.rfind(std::string(name) + "=", 0) == 0) {
                ::setenv(name, line.c_str() + std::strlen(name) + 1, 1);
            }
        }
    }
}

std::string value_of(const char * name) {
    const char * value = std::getenv(name);
    return value == nullptr ? "" : value;
}

void check_flag(const char * name, bool on) {
    const std::string value = value_of(name);
    promised(value.empty() || value == "0" || value == "1", "a flag is 1 or 0");
    promised(on == (value == "1"), "a flag is on where it is 1");
}

void check_mask(const expert_mask & mask) {
    const std::string text  = mask.to_text();
    const expert_mask again = parse_expert_mask(text);
    promised(again.to_text() == text, "a mask reads back from its own text");
    for (const int32_t layer : {0, 1, 5, 1023}) {
        for (const uint32_t n_expert : {1u, 8u, 130u}) {
            const std::vector<float> a = mask.biases(layer, n_expert), b = again.biases(layer, n_expert);
            promised(a.size() == b.size() && (a.empty() || a.size() == n_expert), "and speaks of the same layers");
            for (size_t i = 0; i < a.size(); ++i) {
                promised(!std::isnan(a[i]), "a bias is a number");
                // Rules that overlap are added up in another order.
                promised(a[i] == b[i] || std::abs(a[i] - b[i]) <= 1e-5F * expert_mask::max_bias,
                         "with the same biases");
            }
        }
    }
    try {
        mask.check({{0, 8, 2}, {1, 8, 2, 4, 2}, {5, 64, 8}});
    } catch (const usage_error &) {
    }
}

void check_settings(const recorder::settings & s) {
    if (!s.on()) {
        return;  // switched off, or another process's
    }
    check_flag(env::no_text, s.no_text);
    check_flag(env::no_tokens, s.no_tokens);
    check_flag(env::counts_only, s.counts_only);
    check_flag(env::half_precision, s.f16);
    check_mask(s.capture.mask);
    const std::string list = to_string(s.capture.what);
    promised(parse_capture_list(list) == s.capture.what, "a capture list reads back from its own text");
    promised(s.capture.what.columns.has(column::ids) && s.capture.what.columns.has(column::weights),
             "ids and weights are always captured");
    if (s.max_size > 0) {
        const std::string value = value_of(env::max_size);
        promised(value.substr(value.find_first_not_of('0')) == std::to_string(s.max_size),
                 "the size is the number given");
    }
    promised(s.trace_path.empty() || s.trace_path != s.csv_path, "two outputs are two files");
    promised(recorder::numbered(s.trace_path, 1) == s.trace_path, "the first stream has the plain name");
    recorder::numbered(s.trace_path, 7);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    set_environment(fuzz::text_of(data, size));
    try {
        check_settings(recorder::read_settings());
    } catch (const usage_error &) {  // anything else ends the run
    }
    return 0;
}
