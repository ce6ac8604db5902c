#include "stats/merge.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace moescope::stats {

namespace {

using pairs = std::vector<std::pair<std::string, std::string>>;

std::string differ(const std::string & what, const std::string & a, const std::string & b) {
    return a == b ? "" : what + " is '" + a + "' in one and '" + b + "' in the other";
}

std::string differ(const std::string & what, uint64_t a, uint64_t b) {
    return differ(what, std::to_string(a), std::to_string(b));
}

std::string value_of(const pairs & list, const std::string & key) {
    const auto it = std::find_if(list.begin(), list.end(), [&](const auto & p) { return p.first == key; });
    return it == list.end() ? "" : it->second;
}

std::string options_differ(const pairs & a, const pairs & b) {
    for (const pairs * list : {&a, &b}) {
        for (const auto & p : *list) {
            const std::string d = differ("option " + p.first, value_of(a, p.first), value_of(b, p.first));
            if (!d.empty()) {
                return d;
            }
        }
    }
    return "";
}

std::string labels_differ(const std::vector<std::string> & a, const std::vector<std::string> & b) {
    return a.empty() == b.empty() ? "" : "one has labels and the other has none";
}

// [n_labels][n_expert] from one list of labels to another that contains it. What is empty stays so.
std::vector<double> relabelled(const std::vector<double> & sums, size_t n_expert, const std::vector<std::string> & from,
                               const std::vector<std::string> & to) {
    std::vector<double> moved(sums.empty() ? 0 : to.size() * n_expert);
    for (size_t i = 0; !sums.empty() && i < from.size(); ++i) {
        const auto j = static_cast<size_t>(std::find(to.begin(), to.end(), from[i]) - to.begin());
        std::copy_n(sums.begin() + static_cast<ptrdiff_t>(i * n_expert), n_expert,
                    moved.begin() + static_cast<ptrdiff_t>(j * n_expert));
    }
    return moved;
}

// Rewrites label-indexed sums from one list of labels to another that contains it.
void relabel(std::vector<saliency_block> & blocks, const std::vector<std::string> & from,
             const std::vector<std::string> & to) {
    for (saliency_block & b : blocks) {
        std::vector<uint64_t> rows(to.size()), count(to.size() * b.n_expert);
        for (size_t i = 0; i < from.size(); ++i) {
            const auto j = static_cast<size_t>(std::find(to.begin(), to.end(), from[i]) - to.begin());
            rows[j]      = b.label_rows[i];
            std::copy_n(b.label_count.begin() + static_cast<ptrdiff_t>(i * b.n_expert), b.n_expert,
                        count.begin() + static_cast<ptrdiff_t>(j * b.n_expert));
        }
        for (const auto sum : all_expert_sums) {
            b.label_sums.*sum = relabelled(b.label_sums.*sum, b.n_expert, from, to);
        }
        b.label_rows  = std::move(rows);
        b.label_count = std::move(count);
    }
}

bool may_overlap(const corpus_part & a, const corpus_part & b) {
    return a.hash == b.hash && a.bytes == b.bytes && may_overlap(a.selection, b.selection);
}

void check_parts(const moestats & to, const std::string & to_name, const moestats & from,
                 const std::string & from_name) {
    if (!from.complete() || !to.complete()) {
        throw error("the profile is not finished")
            .in(to.complete() ? from_name : to_name)
            .fix("finish it with moescope profile --resume");
    }
    for (const corpus_part & a : to.corpora) {
        for (const corpus_part & b : from.corpora) {
            if (may_overlap(a, b)) {
                throw error("it holds samples of " + a.name + " that are also in " + to_name +
                            ", so they would count twice")
                    .in(from_name);
            }
        }
    }
}

}  // namespace

std::string difference(const moestats & a, const moestats & b) {
    const model_info & m = a.model;
    const model_info & n = b.model;
    for (const std::string & d : {
             differ("the model's architecture", m.architecture, n.architecture),
             differ("the model's name", m.name, n.name),
             differ("the model's file size", m.file_size, n.file_size),
             differ("the number of layers", m.n_layer, n.n_layer),
             differ("the number of experts", m.n_expert, n.n_expert),
             differ("the number of experts used", m.n_expert_used, n.n_expert_used),
             a.model_fingerprint == 0 || b.model_fingerprint == 0  // not known: the model's file was not there
                 ? ""
                 : differ("the fingerprint of the model's weights", a.model_fingerprint, b.model_fingerprint),
             differ("option gate", to_string(a.gate), to_string(b.gate)),
             options_differ(a.options, b.options),
             labels_differ(a.labels, b.labels),
         }) {
        if (!d.empty()) {
            return d;
        }
    }
    return "";
}

void merge_into(moestats & to, const std::string & to_name, const moestats & from, const std::string & from_name) {
    if (const std::string d = difference(to, from); !d.empty()) {
        throw error("it cannot be added to " + to_name + ": " + d).in(from_name);
    }
    check_parts(to, to_name, from, from_name);

    std::vector<std::string> labels = to.labels;
    for (const std::string & l : from.labels) {
        if (std::find(labels.begin(), labels.end(), l) == labels.end()) {
            labels.push_back(l);
        }
    }
    std::vector<saliency_block> added = from.blocks;
    relabel(to.blocks, to.labels, labels);
    relabel(added, from.labels, labels);
    saliency sum(to.gate, static_cast<uint32_t>(labels.size()));
    sum.add(to.blocks);
    sum.add(added);
    to.blocks = sum.blocks();
    to.labels = std::move(labels);
    if (to.model_fingerprint == 0) {
        to.model_fingerprint = from.model_fingerprint;
        to.shape_fingerprint = from.shape_fingerprint;
    }
    to.corpora.insert(to.corpora.end(), from.corpora.begin(), from.corpora.end());
}

void add_shard(moestats & to, const moestats & from) {
    saliency sum(to.gate, static_cast<uint32_t>(to.labels.size()));
    sum.add(to.blocks);
    sum.add(from.blocks);
    to.blocks             = sum.blocks();
    corpus_part &       a = to.corpora.front();
    const corpus_part & b = from.corpora.front();
    a.samples += b.samples;
    a.tokens += b.tokens;
    a.truncated += b.truncated;  // empty and malformed lines are the whole file's in every shard
    a.failed.insert(a.failed.end(), b.failed.begin(), b.failed.end());
    std::sort(a.failed.begin(), a.failed.end());
    a.complete           = a.complete && b.complete;
    a.selection.shard    = 0;  // the shards of one run together are shard 0 of 1
    a.selection.n_shards = 1;
}

}  // namespace moescope::stats
