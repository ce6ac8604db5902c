#include "cli/answers/profile_files.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/answers/label_field.hpp"
#include "cli/terminal/progress.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"
#include "io/magic.hpp"
#include "io/path.hpp"
#include "logs/open.hpp"
#include "profile/trace_profile.hpp"
#include "stats/merge.hpp"
#include "trace/format.hpp"

namespace moescope::cli {

namespace {

using nlohmann::json;

// Nothing where the file is not one JSON document; logs of other tools are one per line.
json parse_document(const std::string & path) {
    std::error_code unknown;
    if (!std::filesystem::is_regular_file(path, unknown)) {
        return json(json::value_t::discarded);  // opening a pipe would wait for whoever writes it
    }
    std::ifstream in(path, std::ios::binary);
    return (in >> std::ws).peek() == '{' ? json::parse(in, nullptr, false) : json(json::value_t::discarded);
}

bool is_layer_number(const std::string & key) {
    return !key.empty() && key.size() < 7 && key.find_first_not_of("0123456789") == std::string::npos;
}

bool is_expert_stats(const json & j) {
    return j.is_object() && !j.empty() && std::all_of(j.items().begin(), j.items().end(), [](const auto & item) {
               return is_layer_number(item.key()) && item.value().is_object() &&
                      item.value().contains("total_tokens") && item.value().contains("activation_counts");
           });
}

// Σ over the rows of an expert, from its mean; nothing where the file has no such key.
std::vector<double> sums_of(const json & layer, const char * mean, const std::vector<uint64_t> & count) {
    std::vector<double> sums(count.size());
    if (!layer.contains(mean)) {
        return sums;
    }
    const auto means = layer[mean].get<std::vector<double>>();
    if (means.size() != count.size()) {
        throw error(std::string("'") + mean + "' and 'activation_counts' differ in length");
    }
    std::transform(means.begin(), means.end(), count.begin(), sums.begin(),
                   [](double m, uint64_t n) { return m * static_cast<double>(n); });
    return sums;
}

stats::saliency_block block_of(const std::string & key, const json & layer) {
    stats::saliency_block b;
    b.layer            = std::stoi(key);
    b.rows             = layer["total_tokens"].get<uint64_t>();
    b.count            = layer["activation_counts"].get<std::vector<uint64_t>>();
    b.n_expert         = static_cast<uint32_t>(b.count.size());
    const double total = static_cast<double>(std::accumulate(b.count.begin(), b.count.end(), uint64_t{0}));
    b.n_expert_used    = b.rows > 0 ? static_cast<uint32_t>(std::lround(total / static_cast<double>(b.rows))) : 0;
    b.gate             = sums_of(layer, "avg_gate_weight", b.count);
    b.norm             = sums_of(layer, "ean_mean", b.count);
    b.gated_norm       = sums_of(layer, "reap", b.count);
    b.max_norm.resize(b.count.size());
    return b;
}

stats::moestats read_expert_stats(const std::string & path) {
    const json      j = parse_document(path);
    stats::moestats s;
    try {
        for (const auto & [key, layer] : j.items()) {
            s.blocks.push_back(block_of(key, layer));
        }
    } catch (const json::exception &) {
        throw error("a number is missing or of another kind").in(path);
    } catch (const error & e) {
        throw error(e.reason()).in(path);
    }
    std::sort(s.blocks.begin(), s.blocks.end(), [](const auto & a, const auto & b) { return a.layer < b.layer; });
    return s;
}

// The trace's name, or, of each request, the trace's name and its number.
std::vector<std::string> labels_by(const std::string & by, trace::trace_source & source) {
    constexpr uint64_t most = 1000;  // each has sums of its own
    const uint64_t     n    = profile::count_requests(source);
    const std::string  name = io::without_suffix(io::base_name(source.info().path), ".moetrace");
    if (by == "trace") {
        return std::vector<std::string>(n, name);
    }
    if (n > most) {
        throw error(fmt::format("it has {} requests, too many for a label each (at most {})", with_commas(n),
                                with_commas(most)))
            .in(source.info().path)
            .fix("label them with --jsonl FILE");
    }
    std::vector<std::string> labels;
    for (uint64_t i = 0; i < n; ++i) {
        labels.push_back(fmt::format("{}#{:0{}}", name, i, std::to_string(n - 1).size()));
    }
    return labels;
}

std::vector<std::string> read_request_labels(const request_labels & from, trace::trace_source & source) {
    if (from.jsonl.empty()) {
        return from.by.empty() || source.info().counts_only ? std::vector<std::string>() : labels_by(from.by, source);
    }
    std::vector<std::string> labels = read_label_field(from.jsonl, from.key.empty() ? "label" : from.key);
    if (const uint64_t n = profile::count_requests(source); n != labels.size()) {
        throw error(fmt::format("it has {} lines, but {} has {} requests: labels would go to the wrong ones",
                                with_commas(labels.size()), source.info().path, with_commas(n)))
            .in(from.jsonl)
            .fix("'moescope stats --requests' lists the requests");
    }
    return labels;
}

stats::moestats profile_of(const std::string & path, stats::gate_kind gate, const request_labels & labels,
                           bool take_what_is_there = false) {
    const auto                     source = logs::open_source(path);
    profile::trace_profile_options how;
    how.gate               = gate;
    how.labels             = read_request_labels(labels, *source);
    how.take_what_is_there = take_what_is_there;
    if (const uint64_t lost = source->info().lost_bytes; lost > 0) {
        note(fmt::format("{} was cut: {} at its end could not be read", printable(path), human_bytes(lost)));
    }
    progress bar("reading", 0, "tokens");
    return profile::profile_of_trace(*source, how, [&](const trace::amount_read & read) {
        bar.update(read.tokens);
        return true;
    });
}

}  // namespace

stats::moestats profile_of_traces(const std::vector<std::string> & paths, stats::gate_kind gate,
                                  const request_labels & labels) {
    stats::moestats all = profile_of(paths.front(), gate, labels);
    for (size_t i = 1; i < paths.size(); ++i) {
        stats::merge_into(all, paths.front(), profile_of(paths[i], gate, labels), paths[i]);
    }
    return all;
}

bool is_profile(const std::string & path) {
    return stats::is_moestats(path) || is_expert_stats(parse_document(path));
}

stats::moestats read_profile(const std::string & path) {
    return stats::is_moestats(path) ? stats::read_moestats(path) : read_expert_stats(path);
}

stats::moestats read_profile_or_trace(const std::string & path) {
    return is_trace(path) ? profile_of(path, stats::gate_kind::final, {}) : stats::read_moestats(path);
}

stats::moestats read_counts_or_more(const std::string & path) {
    return is_trace(path) ? profile_of(path, stats::gate_kind::final, {}, true) : read_profile(path);
}

std::optional<stats::moestats> read_sums(const std::string & path) {
    if (is_trace(path)) {
        return profile_of(path, stats::gate_kind::final, {}, true);
    }
    return stats::is_moestats(path) ? std::optional(stats::read_moestats(path)) : std::nullopt;
}

bool is_trace(const std::string & path) {
    return io::begins_with(path, trace::trace_file.magic);
}

expert_counts counts_of(const stats::moestats & s) {
    expert_counts counts;
    counts.tokens = s.tokens();
    for (const stats::saliency_block & b : s.blocks) {
        block_layout l;
        l.layer         = b.layer;
        l.block         = b.block;
        l.n_expert      = b.n_expert;
        l.n_expert_used = b.n_expert_used;
        l.flags         = b.flags;
        counts.layout.push_back(l);
        counts.blocks.push_back({b.rows, 0, b.count});
        counts.tokens = std::max(counts.tokens, b.rows);
    }
    return counts;
}

}  // namespace moescope::cli
