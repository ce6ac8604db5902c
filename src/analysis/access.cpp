#include "analysis/access.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "core/error.hpp"

namespace moescope::analysis {

namespace {

using slice_key = std::pair<std::string, int32_t>;  // tensor, expert or -1

// What the graphs of one access list read: every tensor once, as the largest of its reads.
struct graph_reads {
    std::set<std::pair<std::string, int32_t>> sliced;  // tensor, block
    std::map<std::string, bool>               other;   // tensor -> by rows alone
    uint64_t                                  n_unchosen = 0;
};

graph_reads reads_of(const access_list & list, size_t n_blocks) {
    graph_reads r;
    for (const access_entry & e : list) {
        for (const std::string & tensor : e.sources) {
            if (e.block >= 0 && static_cast<size_t>(e.block) < n_blocks) {
                r.sliced.emplace(tensor, e.block);
            } else if (e.by_id()) {
                r.n_unchosen += 1;
            } else {
                const bool by_rows = e.op == "GET_ROWS";
                const auto it      = r.other.emplace(tensor, by_rows).first;
                it->second         = it->second && by_rows;
            }
        }
    }
    return r;
}

void sort_by_bytes(std::vector<weight_reads> & all) {
    std::sort(all.begin(), all.end(), [](const weight_reads & a, const weight_reads & b) {
        return std::tie(b.bytes, b.reads, a.layer, a.tensor, a.expert) <
               std::tie(a.bytes, a.reads, b.layer, b.tensor, b.expert);
    });
}

}  // namespace

access_totals::access_totals(const trace::trace_source & source, weight_sizes sizes)
    : source_(source),
      sizes_(std::move(sizes)) {
    if (source.access_lists().empty()) {
        throw error("no accesses were captured").in(source.info().path).fix("record with --capture access");
    }
}

void access_totals::ubatch(const routed_ubatch & u) {
    if (u.access >= graphs_.size()) {
        graphs_.resize(u.access + 1);
    }
    graph_counts & g = graphs_[u.access];
    g.ubatches += 1;
    g.tokens += u.n_tokens();
    if (u.access == 0) {
        return;
    }
    g.blocks.resize(std::max(g.blocks.size(), u.blocks.size()));
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        const block_rows & b = u.blocks[i];
        const uint32_t     n = b.layout->n_expert;
        slice_counts &     c = g.blocks[i];
        c.reads.resize(std::max<size_t>(c.reads.size(), n));
        c.rows.resize(c.reads.size());
        last_seen_.resize(std::max<size_t>(last_seen_.size(), n));
        n_blocks_ += 1;
        for (size_t j = 0; j < size_t(b.n_rows) * b.layout->n_expert_used; ++j) {
            const uint32_t id = b.id(j);
            if (id < n) {
                c.rows[id] += 1;
                c.reads[id] += last_seen_[id] != n_blocks_;
                last_seen_[id] = n_blocks_;
            }
        }
    }
}

access_result access_totals::result() const {
    access_result                     r;
    std::map<slice_key, weight_reads> all;
    std::set<std::string>             unknown;
    const auto add = [&](const std::string & tensor, int32_t expert, uint64_t reads, uint64_t rows, bool by_rows) {
        const auto     size = sizes_.find(tensor);
        weight_reads & w    = all[{tensor, expert}];
        w.tensor            = tensor;
        w.expert            = expert;
        w.reads += reads;
        w.rows += rows;
        w.by_rows = by_rows;
        w.known   = size != sizes_.end();
        if (!w.known) {
            unknown.insert(tensor);
            return;
        }
        w.layer = size->second.layer;
        w.bytes += by_rows ? rows * size->second.row
                           : reads * (expert < 0 ? size->second.whole : size->second.whole / size->second.n_slice);
    };
    for (size_t number = 1; number < graphs_.size(); ++number) {
        const graph_counts & g     = graphs_[number];
        const graph_reads    reads = reads_of(source_.access_lists()[number - 1], g.blocks.size());
        r.ubatches += g.ubatches;
        r.tokens += g.tokens;
        r.n_unchosen += reads.n_unchosen * g.ubatches;
        for (const auto & [tensor, by_rows] : reads.other) {
            add(tensor, -1, g.ubatches, g.tokens, by_rows);
        }
        for (const auto & [tensor, block] : reads.sliced) {
            const slice_counts & c = g.blocks[static_cast<size_t>(block)];
            for (size_t e = 0; e < c.reads.size(); ++e) {
                if (c.reads[e] > 0) {
                    add(tensor, static_cast<int32_t>(e), c.reads[e], c.rows[e], false);
                }
            }
        }
    }
    for (auto & [key, w] : all) {
        (w.expert >= 0 ? r.bytes_slices : r.bytes_tensors) += w.bytes;
        (w.expert >= 0 ? r.slices : r.tensors).push_back(std::move(w));
    }
    sort_by_bytes(r.slices);
    sort_by_bytes(r.tensors);
    r.n_unknown  = unknown.size();
    r.n_unlisted = graphs_.empty() ? 0 : graphs_[0].ubatches;
    return r;
}

}  // namespace moescope::analysis
