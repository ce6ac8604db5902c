// Counts per expert as other engines save them with torch.save (docs/export.md).

#include <algorithm>
#include <map>

#include "core/block_table.hpp"
#include "core/error.hpp"
#include "core/expert_counts.hpp"
#include "formats/format.hpp"
#include "formats/torch_writer.hpp"

namespace moescope::formats {

namespace {

expert_counts counts_of_source(trace::trace_source & source) {
    if (const expert_counts * stored = source.stored_counts()) {
        return *stored;
    }
    expert_counts all;
    source.rewind();
    for (routed_ubatch u; source.next(u);) {
        all.add(u);
    }
    return all;
}

// [layers][experts] as one array: from layer 0 on, all zero where a layer has no experts.
struct count_table {
    uint32_t                 n_layer = 0, n_expert = 0;
    std::vector<int64_t>     counts;
    std::vector<std::string> notes;

    int64_t largest() const { return *std::max_element(counts.begin(), counts.end()); }
};

count_table table_of(trace::trace_source & source) {
    const expert_counts all = counts_of_source(source);
    count_table         t;
    t.n_layer              = source.model().n_layer;
    uint64_t second_blocks = 0;
    for (const block_layout & l : all.layout) {
        t.n_layer  = std::max(t.n_layer, static_cast<uint32_t>(l.layer) + 1);
        t.n_expert = std::max(t.n_expert, l.n_expert);
        second_blocks += l.block > 0;
    }
    if (t.n_expert == 0) {
        throw error("no expert was selected, so there is nothing to export").in(source.info().path);
    }
    t.counts.resize(size_t{t.n_layer} * t.n_expert);
    for (size_t i = 0; i < all.layout.size(); ++i) {
        if (all.layout[i].block == 0) {
            const auto to = t.counts.begin() + all.layout[i].layer * static_cast<int64_t>(t.n_expert);
            std::copy(all.blocks[i].count.begin(), all.blocks[i].count.end(), to);
        }
    }
    if (second_blocks > 0) {
        t.notes.push_back("the format has no place for the second MoE blocks of layers: left out");
    }
    return t;
}

// What the REAP authors' observer sums up of an expert, over the rows that select it.
struct expert_sums {
    std::vector<double> norm, weight, weighted_norm;
    explicit expert_sums(size_t n) : norm(n), weight(n), weighted_norm(n) {}
};

struct layer_sums {
    explicit layer_sums(const block_layout & l) : layout(l), sums(l.n_expert) {}
    block_layout         layout;
    expert_sums          sums;
    uint64_t             rows  = 0;  // with weights, and norms where the layer has them
    std::vector<int64_t> count = std::vector<int64_t>(layout.n_expert);
};

void add_rows(layer_sums & to, const block_rows & b) {
    const float * weights = b.values_of(column::weights);
    const float * norms   = b.values_of(column::norms);
    to.rows += b.n_rows;
    for (size_t i = 0; i < size_t{b.n_rows} * b.layout->n_expert_used; ++i) {
        const uint32_t e = b.id(i);
        to.count[e] += 1;
        to.sums.weight[e] += weights != nullptr ? double{weights[i]} : 0;
        to.sums.norm[e] += norms != nullptr ? double{norms[i]} : 0;
        to.sums.weighted_norm[e] += norms == nullptr                           ? 0
                                    : b.layout->has(block_layout::norms_gated) ? double{norms[i]}
                                    : weights != nullptr                       ? double{weights[i]} * double{norms[i]}
                                                                               : 0;
    }
}

std::vector<double> per_selection(const std::vector<double> & sum, const std::vector<int64_t> & count) {
    std::vector<double> mean(sum.size());
    for (size_t e = 0; e < sum.size(); ++e) {
        mean[e] = count[e] > 0 ? sum[e] / static_cast<double>(count[e]) : 0;
    }
    return mean;
}

void write_layer(torch_writer & w, const layer_sums & l) {
    const auto           n       = static_cast<uint32_t>(l.count.size());
    const bool           weights = l.layout.columns.has(column::weights), norms = l.layout.columns.has(column::norms);
    const bool           gated = l.layout.has(block_layout::norms_gated);
    std::vector<int64_t> pairs(size_t{n} * n);  // their name for c_i + c_j
    for (size_t i = 0; i < pairs.size(); ++i) {
        pairs[i] = l.count[i / n] + l.count[i % n];
    }
    w.key(l.layout.layer);
    w.begin_dict();
    w.key("total_tokens"), w.tensor({}, std::vector<int64_t>{static_cast<int64_t>(l.rows)});
    w.key("expert_frequency"), w.tensor({n}, l.count);
    w.key("pairwise_expert_frequency"), w.tensor({n, n}, pairs);
    if (weights) {
        w.key("weighted_expert_frequency_sum"), w.tensor({n}, l.sums.weight);
    }
    if (norms && !gated) {  // gated norms hold the weight, so that of the output alone nothing is known
        w.key("ean_sum"), w.tensor({n}, l.sums.norm);
        w.key("ean_mean"), w.tensor({n}, per_selection(l.sums.norm, l.count));
    }
    if (norms && (weights || gated)) {
        w.key("weighted_ean_sum"), w.tensor({n}, l.sums.weighted_norm);
        w.key("reap"), w.tensor({n}, per_selection(l.sums.weighted_norm, l.count));
    }
    w.end_dict();
}

}  // namespace

std::vector<std::string> write_sglang_stat(trace::trace_source & source, std::FILE * out) {
    count_table  t = table_of(source);
    torch_writer w;
    w.begin_dict();
    w.key("rank"), w.integer(0);
    w.key("logical_count");
    if (t.largest() <= INT32_MAX) {
        w.tensor({1, t.n_layer, t.n_expert}, std::vector<int32_t>(t.counts.begin(), t.counts.end()));
    } else {
        w.tensor({1, t.n_layer, t.n_expert}, t.counts);
        t.notes.push_back("the counts need 64 bits; SGLang's own have 32");
    }
    w.key("average_utilization_rate_over_window"), w.none();
    w.end_dict();
    w.write(out);
    return t.notes;
}

std::vector<std::string> write_ktransformers(trace::trace_source & source, std::FILE * out) {
    const count_table t = table_of(source);
    torch_writer      w;
    w.begin_dict();
    w.key("activation_freq"), w.tensor({t.n_layer, t.n_expert}, t.counts);
    w.end_dict();
    w.write(out);
    return t.notes;
}

std::vector<std::string> write_cerebras(trace::trace_source & source, std::FILE * out) {
    require_rows(source);
    std::map<int32_t, layer_sums> layers;
    bool                          second_blocks = false;
    for (const block_layout & l : source.blocks()) {
        second_blocks = second_blocks || l.block > 0;
        if (l.block == 0 && l.columns.has(column::ids)) {
            layers.emplace(l.layer, layer_sums(l));
        }
    }
    source.rewind();
    for (routed_ubatch u; source.next(u);) {
        for (const block_rows & b : u.blocks) {
            if (const auto it = layers.find(b.layout->layer); b.layout->block == 0 && it != layers.end()) {
                add_rows(it->second, b);
            }
        }
    }
    torch_writer w;
    w.begin_dict();
    for (const auto & [il, l] : layers) {
        write_layer(w, l);
    }
    w.end_dict();
    w.write(out);
    return second_blocks
               ? std::vector<std::string>{"the format has no place for the second MoE blocks of layers: left out"}
               : std::vector<std::string>();
}

}  // namespace moescope::formats
