#include "profile/trace_profile.hpp"

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <set>

#include "analysis/tools/prompt_labels.hpp"
#include "core/error.hpp"
#include "gguf/fingerprint.hpp"
#include "gguf/head.hpp"
#include "gguf/model_file.hpp"
#include "io/hash.hpp"
#include "io/mapped_file.hpp"
#include "io/path.hpp"
#include "trace/requests.hpp"

namespace moescope::profile {

namespace {

constexpr int32_t no_label = -1;

// Hands ubatches on whose sequence ids are the labels of their tokens' requests, which is how saliency takes labels.
class labelled_rows final : public routing_sink {
public:
    // label_of: [request] index of a label, or no_label, as requests beyond it have; empty: ubatches stay as they are.
    labelled_rows(std::vector<int32_t> label_of, routing_sink & next) : label_of_(std::move(label_of)), next_(next) {}

    void ubatch(const routed_ubatch & u) override {
        const std::vector<int64_t> & requests = finder_.follow(u);
        tokens += u.n_tokens();
        if (label_of_.empty()) {
            next_.ubatch(u);
            return;
        }
        labels_.clear();
        for (const int64_t r : requests) {
            const auto i = static_cast<size_t>(r);
            labels_.push_back(i < label_of_.size() ? label_of_[i] : no_label);
        }
        routed_ubatch with_labels = u;
        with_labels.seq           = {labels_.data(), labels_.size()};
        next_.ubatch(with_labels);
    }
    uint64_t n_requests() const { return finder_.requests().size(); }

    uint64_t tokens = 0;

private:
    std::vector<int32_t>  label_of_;
    routing_sink &        next_;
    trace::request_finder finder_;
    std::vector<int32_t>  labels_;
};

column gate_column(stats::gate_kind gate) {
    return gate == stats::gate_kind::raw ? column::weights_raw : column::weights;
}

bool every_layer_has(const graph_layout & blocks, column c) {
    return std::all_of(blocks.begin(), blocks.end(), [c](auto & l) { return l.block > 0 || l.columns.has(c); });
}

void require_columns(const trace::trace_source & source, stats::gate_kind gate) {
    if (source.info().counts_only) {
        throw error("this trace holds only counts, no rows")
            .in(source.info().path)
            .fix("record without --counts-only; 'analyze frequency' and 'prune --criterion frequency' read counts");
    }
    const column_set wanted = column_set(column::norms) | gate_column(gate);
    for (const block_layout & l : source.blocks()) {
        for (const column c : {column::norms, gate_column(gate)}) {
            if (l.block == 0 && !l.columns.has(c)) {
                throw error("a profile needs the " +
                            std::string(c == column::norms ? "norms of expert outputs" : "gate weights"))
                    .in(source.info().path)
                    .fix("record with --capture " + to_string(column_set(column::ids) | wanted));
            }
        }
    }
    if (source.blocks().empty()) {
        throw error("the trace is empty: no MoE layer was recorded").in(source.info().path);
    }
}

// The sorted labels, and the index of each request's; no_label where it has none.
struct label_table {
    std::vector<std::string> names;
    std::vector<int32_t>     of_request;
};

label_table index_labels(const std::vector<std::string> & labels) {
    std::set<std::string> names(labels.begin(), labels.end());
    names.erase("");
    label_table table{{names.begin(), names.end()}, {}};
    for (const std::string & l : labels) {
        const auto at = std::lower_bound(table.names.begin(), table.names.end(), l) - table.names.begin();
        table.of_request.push_back(l.empty() ? no_label : static_cast<int32_t>(at));
    }
    return table;
}

void add_fingerprints(stats::moestats & s, const model_info & m) {
    std::error_code unknown;
    const bool      there = !m.file.empty() && m.file_size > 0 &&
                       std::filesystem::file_size(m.file, unknown) == m.file_size && !unknown && gguf::is_gguf(m.file);
    if (there) {
        s.model_fingerprint = gguf::fingerprint(m.file);
        s.shape_fingerprint = gguf::shape_fingerprint(gguf::model_file(m.file));
    }
}

stats::corpus_part part_of(const trace::trace_info & info, uint64_t requests, uint64_t tokens) {
    const io::mapped_file file(info.path);
    stats::corpus_part    part;
    part.name     = io::base_name(info.path);
    part.bytes    = file.size();
    part.hash     = io::hash_bytes(file.data(), file.size());
    part.samples  = requests;
    part.tokens   = tokens;
    part.complete = true;
    return part;
}

std::vector<stats::saliency_block> blocks_of(const expert_counts & counts) {
    std::vector<stats::saliency_block> blocks;
    for (size_t i = 0; i < counts.layout.size(); ++i) {
        const block_layout &  l = counts.layout[i];
        stats::saliency_block b;
        b.layer         = l.layer;
        b.block         = l.block;
        b.n_expert      = l.n_expert;
        b.n_expert_used = l.n_expert_used;
        b.flags         = l.flags;
        b.rows          = counts.blocks[i].rows;
        b.count         = counts.blocks[i].count;
        blocks.push_back(std::move(b));
    }
    return blocks;
}

// What a trace without norms or gate weights says nothing of.
void clear_unknown_sums(std::vector<stats::saliency_block> & blocks, bool has_gate, bool has_norms) {
    for (stats::saliency_block & b : blocks) {
        if (!has_gate) {
            b.gate.clear();
        }
        if (!has_gate || !has_norms) {
            b.gated_norm.clear();
        }
        if (!has_norms) {
            b.norm.clear();
            b.max_norm.clear();
        }
    }
}

// Adds up all rows. Returns how many requests and tokens they are of.
std::pair<uint64_t, uint64_t> add_rows(trace::trace_source & source, const label_table & labels, stats::saliency & to,
                                       const trace::read_progress & progress) {
    std::vector<uint32_t> each_its_own(labels.names.size());
    std::iota(each_its_own.begin(), each_its_own.end(), 0u);
    to.set_sequence_labels(std::move(each_its_own));
    labelled_rows rows(labels.of_request, to);
    trace::read_through(source, {&rows}, progress);
    return {rows.n_requests(), rows.tokens};
}

// Blocks, labels, and what part of a corpus the trace is.
void add_sums(stats::moestats & s, trace::trace_source & source, const trace_profile_options & o,
              const trace::read_progress & progress) {
    if (const expert_counts * counts = source.stored_counts()) {
        s.blocks  = blocks_of(*counts);
        s.corpora = {part_of(source.info(), 0, counts->tokens)};
        return;
    }
    const label_table labels = index_labels(o.labels.empty() ? analysis::prompt_labels(source.info().notes) : o.labels);
    const graph_layout blocks = source.blocks();
    const bool      gate = every_layer_has(blocks, gate_column(o.gate)), norms = every_layer_has(blocks, column::norms);
    const bool      whole = gate && norms;
    stats::saliency sums(o.gate, static_cast<uint32_t>(labels.names.size()),
                         whole ? stats::missing_columns::refused : stats::missing_columns::left_out,
                         whole ? stats::sum_set::all : stats::sum_set::norms);
    const auto [requests, tokens] = add_rows(source, labels, sums, progress);
    s.labels                      = labels.names;
    s.blocks                      = sums.blocks();
    s.corpora                     = {part_of(source.info(), requests, tokens)};
    clear_unknown_sums(s.blocks, gate, norms);
}

}  // namespace

stats::moestats profile_of_trace(trace::trace_source & source, const trace_profile_options & o,
                                 const trace::read_progress & progress) {
    if (!o.take_what_is_there) {
        require_columns(source, o.gate);
    }
    stats::moestats s;
    s.model          = source.model();
    s.model.file     = io::base_name(s.model.file);
    s.model.metadata = {};
    s.gate           = o.gate;
    s.options        = {{"from", "traces"}};
    if (!source.info().mask.empty()) {
        s.options.emplace_back("mask", source.info().mask);
    }
    add_fingerprints(s, source.model());
    add_sums(s, source, o, progress);
    if (std::all_of(s.blocks.begin(), s.blocks.end(), [](auto & b) { return b.rows == 0; })) {
        throw error("the trace is empty: no expert was selected").in(source.info().path);
    }
    return s;
}

uint64_t count_requests(trace::trace_source & source) {
    trace::request_finder finder;
    source.rewind();
    for (routed_ubatch u; source.next(u);) {
        finder.follow(u);
    }
    source.rewind();
    return finder.requests().size();
}

}  // namespace moescope::profile
