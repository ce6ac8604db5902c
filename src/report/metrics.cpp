#include "report/metrics.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include <fmt/format.h>

namespace moescope::report {

namespace {

// As the format asks for label values; other control characters go, so that one name is one line.
std::string escaped(const std::string & text) {
    std::string out;
    for (const char c : text) {
        if (c == '\\' || c == '"') {
            out += '\\';
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else {
            out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
        }
    }
    return out;
}

std::string sample_value(double v) {
    return std::isfinite(v) ? fmt::format("{}", v) : "NaN";
}

double max_share(const page_run & r, const page_block & b) {
    const auto   begin = r.cells.count.begin() + b.first_cell;
    const double most  = static_cast<double>(*std::max_element(begin, begin + b.layout.n_expert));
    const double all   = static_cast<double>(std::accumulate(begin, begin + b.layout.n_expert, uint64_t(0)));
    return all > 0 ? most / all : std::nan("");
}

class text {
public:
    void family(const char * name, const char * type, const char * help) {
        name_ = name;
        out_ += fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help);
    }
    void sample(const std::string & labels, const std::string & value) {
        out_ += fmt::format("{}{{{}}} {}\n", name_, labels, value);
    }
    std::string take() { return std::move(out_); }

private:
    std::string out_, name_;
};

using block_value = std::function<std::string(const page_run &, const page_block &)>;

void per_layer(text & out, const std::vector<page_run> & runs, const block_value & value) {
    for (const page_run & r : runs) {
        for (const page_block & b : r.blocks) {
            out.sample(
                fmt::format("run=\"{}\",layer=\"{}\",block=\"{}\"", escaped(r.label), b.layout.layer, b.layout.block),
                value(r, b));
        }
    }
}

}  // namespace

std::string prometheus_text(const std::vector<page_run> & runs) {
    text out;
    out.family("moescope_tokens_total", "counter", "Tokens that the model computed.");
    for (const page_run & r : runs) {
        out.sample(fmt::format("run=\"{}\",phase=\"prefill\"", escaped(r.label)),
                   fmt::format("{}", r.tokens - r.decoded));
        out.sample(fmt::format("run=\"{}\",phase=\"decode\"", escaped(r.label)), fmt::format("{}", r.decoded));
    }
    out.family("moescope_ubatches_total", "counter", "Ubatches that the model computed.");
    for (const page_run & r : runs) {
        out.sample(fmt::format("run=\"{}\"", escaped(r.label)), fmt::format("{}", r.ubatches));
    }
    out.family("moescope_layer_rows_total", "counter", "Rows that an MoE layer routed.");
    per_layer(out, runs, [](const page_run &, const page_block & b) { return fmt::format("{}", b.rows); });
    out.family("moescope_layer_entropy", "gauge", "Normalised entropy of a layer's selections; 1 is balanced.");
    per_layer(out, runs, [](const page_run &, const page_block & b) { return sample_value(b.balance.entropy); });
    out.family("moescope_layer_max_share", "gauge", "Share of a layer's selections that its hottest expert holds.");
    per_layer(out, runs, [](const page_run & r, const page_block & b) { return sample_value(max_share(r, b)); });
    out.family("moescope_layer_dead_experts", "gauge", "Experts of a layer that were never selected.");
    per_layer(out, runs, [](const page_run &, const page_block & b) { return fmt::format("{:.0f}", b.balance.dead); });
    return out.take();
}

}  // namespace moescope::report
