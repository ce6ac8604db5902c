#include "report/profile_run.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "analysis/tools/unknown.hpp"
#include "stats/expert_sums.hpp"

namespace moescope::report {

namespace {

using stats::moestats;
using stats::saliency_block;

block_layout layout_of(const saliency_block & b) {
    block_layout l;
    l.layer         = b.layer;
    l.block         = b.block;
    l.n_expert      = b.n_expert;
    l.n_expert_used = b.n_expert_used;
    l.flags         = b.flags;
    return l;
}

bool any_norm(const moestats & s) {
    return std::any_of(s.blocks.begin(), s.blocks.end(), [](const saliency_block & b) {
        return std::any_of(b.norm.begin(), b.norm.end(), [](double n) { return n > 0; });
    });
}

void add_cells(page_cells & cells, const saliency_block & b, bool norms) {
    cells.count.insert(cells.count.end(), b.count.begin(), b.count.end());
    for (uint32_t e = 0; e < b.n_expert; ++e) {
        cells.weight_mean.push_back(b.n_gate(e) > 0 ? b.mean_gate(e) : analysis::unknown);
        if (norms) {
            cells.ean.push_back(b.n_norm(e) > 0 ? b.ean(e) : analysis::unknown);
            cells.reap.push_back(b.n_norm(e) > 0 ? b.reap(e) : analysis::unknown);
        }
    }
}

// A label has its rows in every block; the profile does not keep how many samples it has.
std::vector<page_domain> domains_of(const moestats & s) {
    std::vector<page_domain> out;
    for (size_t label = 0; label < s.labels.size(); ++label) {
        page_domain d;
        d.label = s.labels[label];
        for (const saliency_block & b : s.blocks) {
            if (b.label_rows.size() != s.labels.size()) {
                return {};
            }
            const auto first = b.label_count.begin() + static_cast<ptrdiff_t>(label * b.n_expert);
            d.rows.push_back(b.label_rows[label]);
            d.count.insert(d.count.end(), first, first + b.n_expert);
        }
        out.push_back(std::move(d));
    }
    return out;
}

page_pairs pairs_of(const moestats & s, uint64_t max_cells) {
    uint64_t cells = 0;
    for (const saliency_block & b : s.blocks) {
        cells += b.pair_count.size();
    }
    page_pairs p;
    p.complete = cells <= max_cells;
    for (const saliency_block & b : s.blocks) {
        p.count.push_back(p.complete ? b.pair_count : std::vector<uint64_t>());
    }
    return p;
}

std::string corpora_of(const moestats & s) {
    std::string names;
    for (const stats::corpus_part & part : s.corpora) {
        if (names.find(part.name) == std::string::npos) {
            names += (names.empty() ? "" : ", ") + part.name;
        }
    }
    return names;
}

trace::trace_info source_of(const moestats & s, const std::string & path) {
    trace::trace_info info;
    info.path        = path;
    info.format      = "profile";
    info.program     = corpora_of(s);
    info.counts_only = true;
    info.ended       = true;
    std::error_code unknown;
    const auto      bytes = std::filesystem::file_size(path, unknown);
    info.bytes            = unknown ? 0 : bytes;
    return info;
}

}  // namespace

page_run run_of_profile(const moestats & s, const std::string & path, uint64_t max_pair_cells) {
    page_run run;
    run.source       = source_of(s, path);
    run.model        = s.model;
    run.tokens       = s.tokens();
    const bool norms = any_norm(s);
    for (const saliency_block & b : s.blocks) {
        page_block block;
        block.layout     = layout_of(b);
        block.first_cell = static_cast<uint32_t>(run.cells.count.size());
        block.rows       = b.rows;
        block.balance    = analysis::measure_balance(b.count);
        run.tokens       = std::max(run.tokens, b.rows);  // what another tool counted says no more
        add_cells(run.cells, b, norms);
        run.blocks.push_back(std::move(block));
    }
    run.domains = domains_of(s);
    run.pairs   = pairs_of(s, max_pair_cells);
    return run;
}

}  // namespace moescope::report
