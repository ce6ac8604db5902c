#include "report/collector.hpp"

#include <algorithm>

#include "analysis/tools/prompt_labels.hpp"
#include "analysis/tools/unknown.hpp"

namespace moescope::report {

namespace {

template <class T>
void append(std::vector<T> & out, const std::vector<T> & v) {
    out.insert(out.end(), v.begin(), v.end());
}

// How many selections of an expert came with a column.
using count_of_column = uint64_t (stats::saliency_block::*)(uint32_t expert) const;

bool any_selection(const std::vector<stats::saliency_block> & blocks, count_of_column n) {
    for (const stats::saliency_block & b : blocks) {
        for (uint32_t e = 0; e < b.n_expert; ++e) {
            if ((b.*n)(e) > 0) {
                return true;
            }
        }
    }
    return false;
}

}  // namespace

void run_collector::notes(const std::vector<std::string> & all) {
    prompts_.labels = analysis::prompt_labels(all);
    labelled_       = !prompts_.labels.empty();
    domains_.more_labels(prompts_.labels);
}

void run_collector::ubatch(const routed_ubatch & u) {
    const size_t known = blocks_.size();
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        meet(*u.blocks[i].layout, i);
    }
    if (blocks_.size() > known && !pairs_fit()) {
        pairs_.reset();
    }
    access_uses_.resize(std::max<size_t>(access_uses_.size(), u.access + 1));
    access_uses_[u.access] += 1;
    follow_requests(u);
    frequency_.ubatch(u);
    saliency_.ubatch(u);
    accesses_.ubatch(u);
    if (pairs_) {
        pairs_->ubatch(u);
    }
    if (labelled_) {
        domains_.ubatch(u);
    }
}

void run_collector::set_counts(const expert_counts & counts) {
    counts_ = counts;
    blocks_ = {};
    for (size_t i = 0; i < counts.layout.size(); ++i) {
        meet(counts.layout[i], i);
    }
}

void run_collector::meet(const block_layout & l, size_t hint) {
    block_layout & known = blocks_.at(l, hint);
    known.columns        = known.columns | l.columns;
}

bool run_collector::pairs_fit() const {
    uint64_t cells = 0;
    for (size_t i = 0; i < blocks_.size(); ++i) {
        const uint64_t n = blocks_[i].n_expert;
        cells += n == 0 ? 0 : n * (n - 1) / 2;
    }
    return cells <= max_pair_cells_;
}

graph_layout run_collector::blocks() const {
    graph_layout all;
    for (const block_layout * l : blocks_.sorted()) {
        all.push_back(*l);
    }
    return all;
}

page_run run_collector::result() const {
    const analysis::frequency_result counted = counts_ ? analysis::counts_of(*counts_) : frequency_.counts();
    page_run                         run;
    run.tokens      = counted.tokens;
    run.decoded     = counted.decoded;
    run.ubatches    = counted.ubatches;
    run.access_uses = access_uses_;
    for (const analysis::block_frequency & f : counted.blocks) {
        page_block b;
        b.layout       = *blocks_.find(f.layout);
        b.first_cell   = static_cast<uint32_t>(run.cells.count.size());
        b.rows         = f.n_rows;
        b.rows_decoded = f.rows[static_cast<size_t>(analysis::row_kind::decode)];
        b.balance      = f.measured;
        append(run.cells.count, f.total);
        if (!counts_) {
            append(run.cells.count_decoded, f.count[static_cast<size_t>(analysis::row_kind::decode)]);
            append(run.cells.accesses, accesses_of(f.layout));
        }
        run.blocks.push_back(std::move(b));
    }
    add_means(run.cells);
    add_domains(run);
    return run;
}

std::vector<uint64_t> run_collector::accesses_of(const block_layout & l) const {
    const analysis::cache_counts::block * read = accesses_.blocks().find(l);
    return read != nullptr ? read->count[0] : std::vector<uint64_t>(l.n_expert);  // null: it has no row yet
}

void run_collector::add_means(page_cells & cells) const {
    const std::vector<stats::saliency_block> & sums = saliency_.blocks();  // of the same blocks, in the same order

    const bool weights = any_selection(sums, &stats::saliency_block::n_gate);
    const bool norms   = any_selection(sums, &stats::saliency_block::n_norm);
    for (const stats::saliency_block & b : sums) {
        for (uint32_t e = 0; weights && e < b.n_expert; ++e) {
            cells.weight_mean.push_back(b.n_gate(e) > 0 ? b.mean_gate(e) : analysis::unknown);
        }
        for (uint32_t e = 0; norms && e < b.n_expert; ++e) {
            cells.ean.push_back(b.n_norm(e) > 0 ? b.ean(e) : analysis::unknown);
            cells.reap.push_back(b.n_norm(e) > 0 ? b.reap(e) : analysis::unknown);
        }
    }
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

void run_collector::follow_requests(const routed_ubatch & u) {
    const std::vector<int64_t> & of_token = requests_.follow(u);
    for (size_t t = 0; t < of_token.size(); ++t) {
        if (of_token[t] == static_cast<int64_t>(prompts_.first.size())) {
            prompts_.first.push_back(seen_ + t);
        }
    }
    seen_ += of_token.size();
}

page_prompts run_collector::prompts() const {
    page_prompts p = prompts_;
    for (const trace::request & r : requests_.requests()) {
        p.sequence.push_back(r.sequence);
        p.prefilled.push_back(r.prefilled);
        p.decoded.push_back(r.decoded);
    }
    return p;
}

page_pairs run_collector::pairs() const {
    page_pairs p;
    p.complete = pairs_fit();
    for (const block_layout & l : blocks()) {
        p.count.push_back(pairs_of(l));
    }
    return p;
}

std::vector<uint64_t> run_collector::pairs_of(const block_id & block) const {
    return pairs_ ? pairs_->triangle(block) : std::vector<uint64_t>();
}

}  // namespace moescope::report
