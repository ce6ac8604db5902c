#include "recorder/injected/settings.hpp"

#include <cstdlib>
#include <utility>
#include <vector>

#include <unistd.h>

#include "core/error.hpp"
#include "io/existing_file.hpp"
#include "io/path.hpp"
#include "recorder/environment.hpp"

namespace moescope::recorder {

namespace {

std::string text(const char * name) {
    const char * value = std::getenv(name);
    return value == nullptr || std::string(value) == "0" ? std::string() : std::string(value);
}

// Of the variables that other tools brought along: any text is a yes.
bool asked_for(const char * name) {
    return !text(name).empty();
}

bool flag(const char * name) {
    const std::string value = text(name);
    if (!value.empty() && value != "1") {
        throw usage_error(std::string(name) + " takes 1 or 0, not '" + value + "'");
    }
    return !value.empty();
}

uint64_t bytes(const char * name) {
    const std::string value = text(name);
    const uint64_t    n     = std::strtoull(value.c_str(), nullptr, 10);
    if (value.size() > 18 || value.find_first_not_of("0123456789") != std::string::npos) {
        throw usage_error(std::string(name) + " takes a number of bytes, not '" + value + "'");
    }
    return n;
}

std::string path(const char * name) {
    std::string  p  = text(name);
    const size_t at = p.find("%p");
    return at == std::string::npos ? p : p.replace(at, 2, std::to_string(::getpid()));
}

// Each output replaces what it finds, so two of them in one file would leave one. Devices take any number.
void refuse_shared(const std::vector<std::pair<const char *, std::string>> & outputs) {
    for (size_t i = 0; i < outputs.size(); ++i) {
        for (size_t j = i + 1; j < outputs.size(); ++j) {
            if (io::same_output(outputs[i].second, outputs[j].second)) {
                throw usage_error(std::string(outputs[i].first) + " and " + outputs[j].first + " name the same file")
                    .in(outputs[i].second);
            }
        }
    }
}

}  // namespace

settings read_settings() {
    namespace env = environment;
    settings          s;
    const std::string parent  = text(env::only_child_of);
    const bool        further = !parent.empty() && parent != std::to_string(::getppid());
    if (flag(env::nop) || (further && !flag(env::follow))) {
        return s;
    }
    const auto own_path = [&](const char * name) {
        const std::string p = path(name);
        return p.empty() || !further ? p : io::with_part(p, std::to_string(::getpid()));
    };
    s.trace_path = own_path(env::output);
    s.csv_path   = own_path(env::log_csv);
    s.stats_path = own_path(env::stats_output);
    refuse_shared({{env::output, s.trace_path}, {env::log_csv, s.csv_path}, {env::stats_output, s.stats_path}});
    s.stats       = asked_for(env::stats) || !s.stats_path.empty();
    s.names       = asked_for(env::names);
    s.per_layer   = asked_for(env::per_layer);
    s.no_text     = flag(env::no_text);
    s.no_tokens   = flag(env::no_tokens);
    s.counts_only = flag(env::counts_only);
    s.f16         = flag(env::half_precision);
    s.max_size    = bytes(env::max_size);
    s.status_path = text(env::status);
    if (const std::string list = text(env::capture); !list.empty()) {
        s.capture.what = parse_capture_list(list);
    }
    if (const char * layers = std::getenv(env::layers)) {
        s.capture.layers = layer_filter(layers);  // "0" is a layer here
    }
    s.capture.mask = parse_expert_mask(text(env::mask));
    if (s.names) {
        s.capture.what.access = true;  // where the matrices' names are
    }
    return s;
}

std::string numbered(const std::string & path, uint32_t stream) {
    return stream == 1 ? path : io::with_part(path, std::to_string(stream));
}

}  // namespace moescope::recorder
