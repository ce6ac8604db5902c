#include "report/collector.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "analysis/tools/balance.hpp"
#include "analysis/tools/prompt_labels.hpp"
#include "core/block_table.hpp"

namespace moescope::report {

namespace {

constexpr double not_known = std::numeric_limits<double>::quiet_NaN();

void append_means(std::vector<double> & out, const std::vector<double> & sum, const std::vector<uint64_t> & n) {
    for (size_t e = 0; e < sum.size(); ++e) {
        out.push_back(n[e] == 0 ? not_known : sum[e] / static_cast<double>(n[e]));
    }
}

template <class T>
void append(std::vector<T> & out, const std::vector<T> & v) {
    out.insert(out.end(), v.begin(), v.end());
}

}  // namespace

run_collector::block_sums & run_collector::find(const block_layout & l, size_t hint) {
    const auto same = [&](const block_sums & b) { return b.layout.layer == l.layer && b.layout.block == l.block; };
    size_t     i    = hint;
    if (hint >= blocks_.size() || !same(blocks_[hint])) {
        i = static_cast<size_t>(std::find_if(blocks_.begin(), blocks_.end(), same) - blocks_.begin());
    }
    if (i < blocks_.size()) {
        blocks_[i].layout.columns = blocks_[i].layout.columns | l.columns;
        return blocks_[i];
    }
    blocks_.emplace_back();
    block_sums & b = blocks_.back();
    b.layout       = l;
    for (auto * v : {&b.count, &b.count_decoded, &b.accesses, &b.last_ubatch, &b.count_weighed, &b.count_normed}) {
        v->resize(l.n_expert);
    }
    for (auto * v : {&b.weight, &b.norm, &b.weight_norm}) {
        v->resize(l.n_expert);
    }
    const uint64_t n = uint64_t(l.n_expert) * (l.n_expert - 1) / 2;
    pair_cells_ += n;
    if (pair_cells_ > max_pair_cells_ && pairs_complete_) {
        pairs_complete_ = false;
        for (block_sums & other : blocks_) {
            other.pairs = {};
        }
    }
    if (pairs_complete_) {
        b.pairs.resize(n);
    }
    return b;
}

void run_collector::add(const routed_ubatch & u) {
    ubatches_ += 1;
    tokens_ += u.n_tokens();
    for (const uint8_t p : u.phases) {
        decoded_ += p == static_cast<uint8_t>(phase::decode);
    }
    if (u.access >= access_uses_.size()) {
        access_uses_.resize(u.access + 1);
    }
    access_uses_[u.access] += 1;
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        add_rows(find(*u.blocks[i].layout, i), u.blocks[i], u);
    }
    if (labelled_) {
        domains_.ubatch(u);
    }
}

void run_collector::notes(const std::vector<std::string> & all) {
    const std::vector<std::string> labels = analysis::prompt_labels(all);
    labelled_                             = !labels.empty();
    domains_.more_labels(labels);
}

uint64_t run_collector::accesses() const {
    uint64_t n = 0;
    for (const block_sums & b : blocks_) {
        n = std::accumulate(b.accesses.begin(), b.accesses.end(), n);
    }
    return n;
}

void run_collector::add_rows(block_sums & b, const block_rows & rows, const routed_ubatch & u) {
    const uint32_t k       = rows.layout->n_expert_used;
    const size_t   n       = b.count.size();
    const float *  weights = rows.values_of(column::weights);
    const float *  norms   = rows.values_of(column::norms);
    const bool     gated   = rows.layout->has(block_layout::norms_gated);
    row_ids_.resize(k);
    b.rows += rows.n_rows;
    for (uint32_t r = 0; r < rows.n_rows; ++r) {
        const int32_t t       = rows.token_of(r);
        const bool    decoded = t >= 0 && u.phases[static_cast<size_t>(t)] == static_cast<uint8_t>(phase::decode);
        b.rows_decoded += decoded;
        for (uint32_t j = 0; j < k; ++j) {
            const size_t   at = size_t(r) * k + j;
            const uint32_t e  = rows.id(at);
            row_ids_[j]       = e;
            if (e >= n) {
                continue;  // the reader guarantees ids < n_expert of the block's own layout
            }
            b.count[e] += 1;
            b.count_decoded[e] += decoded;
            if (b.last_ubatch[e] != ubatches_) {
                b.last_ubatch[e] = ubatches_;
                b.accesses[e] += 1;
            }
            if (weights != nullptr) {
                b.count_weighed[e] += 1;
                b.weight[e] += static_cast<double>(weights[at]);
            }
            if (norms != nullptr && weights != nullptr) {
                const double norm = static_cast<double>(norms[at]);
                b.count_normed[e] += 1;
                b.norm[e] += norm;
                b.weight_norm[e] += gated ? norm : norm * static_cast<double>(weights[at]);
            }
        }
        if (b.pairs.empty()) {
            continue;
        }
        for (uint32_t i = 0; i < k; ++i) {
            for (uint32_t j = i + 1; j < k; ++j) {
                const uint32_t lo = std::min(row_ids_[i], row_ids_[j]), hi = std::max(row_ids_[i], row_ids_[j]);
                if (lo < hi && hi < n) {
                    b.pairs[triangle_index(lo, hi, n)] += 1;
                }
            }
        }
    }
    b.rows_weighed += weights != nullptr ? rows.n_rows : 0;
    b.rows_normed += norms != nullptr ? rows.n_rows : 0;
}

void run_collector::set_counts(const expert_counts & counts) {
    blocks_.clear();
    counts_only_ = true;
    tokens_      = counts.tokens;
    decoded_     = counts.decoded;
    ubatches_    = counts.ubatches;
    for (size_t i = 0; i < counts.layout.size(); ++i) {
        block_sums & b = find(counts.layout[i], i);
        b.rows         = counts.blocks[i].rows;
        b.rows_decoded = counts.blocks[i].rows_decoded;
        b.count        = counts.blocks[i].count;
        b.pairs        = {};
    }
}

std::vector<size_t> run_collector::order() const {
    return by_layer_and_block(
        blocks_.size(), [&](size_t b) -> auto & { return blocks_[b].layout; });
}

page_run run_collector::result() const {
    page_run run;
    run.tokens         = tokens_;
    run.decoded        = decoded_;
    run.ubatches       = ubatches_;
    run.access_uses    = access_uses_;
    run.pairs.complete = pairs_complete_;
    bool any_weight = false, any_norm = false;
    for (const size_t i : order()) {
        const block_sums & b = blocks_[i];
        page_block         p;
        p.layout       = b.layout;
        p.first_cell   = static_cast<uint32_t>(run.cells.count.size());
        p.rows         = b.rows;
        p.rows_decoded = b.rows_decoded;
        p.balance      = balance_of(b.count);
        run.blocks.push_back(std::move(p));
        append(run.cells.count, b.count);
        append_means(run.cells.weight_mean, b.weight, b.count_weighed);
        append_means(run.cells.ean, b.norm, b.count_normed);
        append_means(run.cells.reap, b.weight_norm, b.count_normed);
        any_weight = any_weight || b.rows_weighed > 0;
        any_norm   = any_norm || b.rows_normed > 0;
        if (!counts_only_) {
            append(run.cells.count_decoded, b.count_decoded);
            append(run.cells.accesses, b.accesses);
        }
        run.pairs.count.push_back(b.pairs);
    }
    add_domains(run);
    if (!any_weight) {
        run.cells.weight_mean.clear();
    }
    if (!any_norm) {
        run.cells.ean.clear();
        run.cells.reap.clear();
    }
    return run;
}

void run_collector::add_domains(page_run & run) const {
    const analysis::specialization_result found = domains_.result();
    for (size_t d = 0; d < found.domains.size(); ++d) {
        page_domain domain{found.domains[d], found.sequences[d], {}, {}};
        for (const page_block & b : run.blocks) {
            const auto at = std::find_if(found.blocks.begin(), found.blocks.end(),
                                         [&](const auto & s) { return s.layout.id() == b.layout.id(); });
            if (at == found.blocks.end()) {
                return;  // its first rows had no domain yet
            }
            domain.rows.push_back(at->domains[d].rows);
            append(domain.count, at->domains[d].count);
        }
        run.domains.push_back(std::move(domain));
    }
}

std::vector<uint64_t> run_collector::pairs_of(int32_t layer, int32_t block) const {
    for (const block_sums & b : blocks_) {
        if (b.layout.layer == layer && b.layout.block == block) {
            return b.pairs;
        }
    }
    return {};
}

block_balance balance_of(const std::vector<uint64_t> & count) {
    const analysis::balance measured = analysis::measure_balance(count);
    block_balance           b;
    b.entropy = measured.entropy;
    b.gini    = measured.gini;
    b.max_vio = measured.max_vio;
    b.dead    = static_cast<uint32_t>(measured.dead);
    for (size_t i = 0; i < measured.coverage.size(); ++i) {
        b.coverage[i] = measured.selections > 0 ? static_cast<uint32_t>(measured.coverage[i]) : 0;
    }
    return b;
}

}  // namespace moescope::report
