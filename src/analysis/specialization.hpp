#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "analysis/tools/interval.hpp"
#include "analysis/tools/sequences.hpp"
#include "core/block_table.hpp"
#include "core/routing.hpp"

namespace moescope::analysis {

// The rows of one domain in one block.
struct domain_counts {
    uint64_t                             rows = 0;
    std::vector<uint64_t>                count;  // [n_expert]
    std::array<std::vector<uint64_t>, 2> half;   // the same in two halves: every other sequence, or, where the domain
                                                 // has one, every other stretch of 64 positions
    double frequency(size_t e) const {
        return rows ? double(count[e]) / double(rows) : unknown;
    }                                                                               // k · share; balanced: k / E
    interval frequency_interval(size_t e) const { return wilson(count[e], rows); }  // 95 %
};

struct block_specialization {
    block_layout               layout;
    std::vector<domain_counts> domains;  // by domain
    // Jensen–Shannon distance of two domains, of all their rows.
    double distance(size_t a, size_t b) const;
    // The same from halves: of different domains (the mean of two), and of one domain with itself. Only these two compare
    // fairly, since few rows look different from anything.
    double half_distance(size_t a, size_t b) const;
    double split_half(size_t a) const;
};

struct specialization_result {
    std::vector<std::string>          domains;
    std::vector<uint64_t>             sequences;  // of each domain
    std::vector<block_specialization> blocks;
    uint64_t                          rows_without_domain = 0;
};

// Counts per domain. Which domain a sequence belongs to is told beforehand: all following ubatches belong to one
// (set_domain), or each sequence to its own by its running number (set_labels).
class specialization final : public routing_sink {
public:
    void set_domain(const std::string & name);  // a new source begins: sequences are numbered anew
    void set_labels(
        const std::vector<std::string> & labels);  // a new source: [sequence]; empty: no domain, as later ones
    void more_labels(const std::vector<std::string> & labels);  // the same of the source at hand, which has grown

    uint64_t sequences_of_source() const { return tracker_.n_sequences(); }

    void                  ubatch(const routed_ubatch & u) override;
    specialization_result result() const;

private:
    struct split_counts {  // by sequence parity and by stretch parity
        uint64_t                             rows = 0;
        std::array<std::vector<uint64_t>, 2> by_sequence, by_stretch;
    };
    struct block {
        explicit block(const block_layout & l) : layout(l) {}
        block_layout              layout;
        std::vector<split_counts> domains;
    };
    size_t domain_number(const std::string & name);
    void   count_row(block & b, size_t domain, const block_rows & rows, uint32_t r, size_t sequence_half,
                     size_t stretch_half);

    sequence_tracker         tracker_;
    std::vector<std::string> domains_;
    std::vector<uint64_t>    sequences_;             // of each domain
    std::vector<size_t>      labels_;                // [sequence] domain
    std::vector<uint64_t>    number_in_domain_;      // [sequence of this source]
    size_t                   domain_    = SIZE_MAX;  // of all rows; SIZE_MAX: by labels_
    bool                     by_labels_ = false;
    block_table<block>       blocks_;
    uint64_t                 rows_without_domain_ = 0;
};

}  // namespace moescope::analysis
