#include "recorder/injected/expert_trace.hpp"

#include <algorithm>
#include <cstdio>
#include <map>

#include "io/byte_sink.hpp"
#include "recorder/injected/print_stderr.hpp"

namespace moescope::recorder {

namespace {

// Selections by expert id, over all layers.
std::vector<uint64_t> over_layers(const expert_counts & counts) {
    std::vector<uint64_t> all;
    for (const auto & b : counts.blocks) {
        all.resize(std::max(all.size(), b.count.size()));
        for (size_t e = 0; e < b.count.size(); ++e) {
            all[e] += b.count[e];
        }
    }
    return all;
}

uint64_t sum(const std::vector<uint64_t> & counts) {
    uint64_t total = 0;
    for (const uint64_t n : counts) {
        total += n;
    }
    return total;
}

std::string count_lines(const std::vector<uint64_t> & counts, const char * indent) {
    std::string    out;
    const uint64_t total = sum(counts);
    for (size_t e = 0; e < counts.size(); ++e) {
        char line[128];
        std::snprintf(line, sizeof(line), "%sExpert %3zu: %8llu activations (%.2f%%)\n", indent, e,
                      static_cast<unsigned long long>(counts[e]),
                      total ? 100.0 * double(counts[e]) / double(total) : 0.0);
        out += line;
    }
    return out;
}

std::string json_counts(const std::vector<uint64_t> & counts) {
    std::string out = "{";
    for (size_t e = 0; e < counts.size(); ++e) {
        out += (e ? ", " : "") + ("\"" + std::to_string(e) + "\": ") + std::to_string(counts[e]);
    }
    return out + "}";
}

// Blocks of one layer (GroveMoE has two) have experts of their own; the layer's counts are those of the first.
std::map<int32_t, std::vector<uint64_t>> by_layer(const expert_counts & counts) {
    std::map<int32_t, std::vector<uint64_t>> layers;
    for (size_t i = 0; i < counts.layout.size(); ++i) {
        if (counts.layout[i].block == 0) {
            layers[counts.layout[i].layer] = counts.blocks[i].count;
        }
    }
    return layers;
}

}  // namespace

expert_trace::expert_trace(const settings & s, uint32_t stream)
    : stats_(s.stats),
      names_(s.names),
      per_layer_(s.per_layer),
      stream_(stream) {
    if (!s.stats_path.empty()) {
        json_path_ = numbered(s.stats_path, stream);
    }
}

uint32_t expert_trace::access(const access_list & list) {
    const auto it = std::find(reads_.begin(), reads_.end(), list);
    if (it == reads_.end()) {
        reads_.push_back(list);
        return static_cast<uint32_t>(reads_.size());
    }
    return static_cast<uint32_t>(it - reads_.begin()) + 1;
}

void expert_trace::ubatch(const routed_ubatch & u) {
    counts_.add(u);
    if (names_) {
        print_names(u);
    }
}

void expert_trace::print_names(const routed_ubatch & u) {
    if (u.access == 0 || u.access > reads_.size()) {
        return;
    }
    std::string lines;
    for (const access_entry & e : reads_[u.access - 1]) {
        if (e.op != "MUL_MAT_ID" || e.block < 0 || static_cast<size_t>(e.block) >= u.blocks.size()) {
            continue;
        }
        const block_rows & b = u.blocks[static_cast<size_t>(e.block)];
        for (size_t i = 0; i < size_t(b.n_rows) * b.layout->n_expert_used; ++i) {
            const std::string id = std::to_string(b.id(i));
            lines += "[EXPERT-TRACE] Layer " + std::to_string(b.layout->layer) + ", Expert " + id + ": " +
                     e.sources[0] + "[" + id + "]\n";
        }
    }
    print_stderr(lines);
}

expert_trace::~expert_trace() {
    try {
        const std::vector<uint64_t> all = over_layers(counts_);
        if (stats_) {
            std::string out = "\n=== Expert activations" +
                              (stream_ > 1 ? " of stream " + std::to_string(stream_) : std::string()) + " ===\n";
            out += "Total tokens: " + std::to_string(counts_.tokens) + "\n";
            out += "Total activations: " + std::to_string(sum(all)) + "\n";
            out += count_lines(all, "");
            if (per_layer_) {
                for (const auto & [layer, counts] : by_layer(counts_)) {
                    out += "Layer " + std::to_string(layer) + ": " + std::to_string(sum(counts)) + " activations\n" +
                           count_lines(counts, "  ");
                }
            }
            print_stderr(out);
        }
        if (!json_path_.empty()) {
            write_json();
        }
    } catch (const std::exception & e) {
        print_stderr(std::string("moescope: ") + e.what() + "\n");
    }
}

void expert_trace::write_json() const {
    std::string out = "{\n  \"total_tokens\": " + std::to_string(counts_.tokens) + ",\n";
    out += "  \"expert_activations\": " + json_counts(over_layers(counts_));
    if (per_layer_) {
        out += ",\n  \"per_layer\": {";
        const char * comma = "\n";
        for (const auto & [layer, counts] : by_layer(counts_)) {
            out += comma + ("    \"" + std::to_string(layer) + "\": ") + json_counts(counts);
            comma = ",\n";
        }
        out += "\n  }";
    }
    out += "\n}\n";
    constexpr io::file_kind own = {"{", "JSON"};
    io::open_file_sink(json_path_, io::existing_file::replace_own, own)->write(out.data(), out.size());
}

}  // namespace moescope::recorder
