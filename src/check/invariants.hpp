#pragma once

// What holds in every trace of a correct capture (docs/check.md lists them for users).

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "check/misread.hpp"
#include "core/expert_counts.hpp"
#include "core/routing.hpp"

namespace moescope::check {

// One kind of violation in one block, however often it occurs.
struct finding {
    std::string name;         // "ids-distinct", "weights-sum", …: stable, for scripts
    std::string what;         // a sentence, with the first occurrence
    int32_t     layer  = -1;  // -1: of the whole trace
    int32_t     block  = 0;
    uint64_t    count  = 1;   // occurrences
    int64_t     ubatch = -1;  // of the first, from 0
    int64_t     row    = -1;  // of the first
};

struct invariant_result {
    uint64_t ubatches = 0, tokens = 0, rows = 0;
    uint64_t rows_distinct = 0;            // rows whose ids were tested to be distinct
    uint64_t rows_summed   = 0;            // rows whose weights were tested to add up
    uint64_t rows_topk     = 0;            // rows whose ids were tested to be the top-k of the selection scores
    uint64_t windows = 0, partitions = 0;  // of the contiguous-misread test (misread.hpp), over all blocks …
    double   partitions_expected = 0;      // … and how many partitions chance gives
};

// Checks rows as they pass: ids in range and distinct; weights finite, adding up to the layout's weight_sum; ids = top-k of
// the selection scores; every value finite (selection scores may be -inf: masked); no contiguous misread.
class invariant_check {
public:
    void add(const routed_ubatch & u);
    // Of a counts-only trace: the counts of a block add up to k times its rows.
    void add(const expert_counts & counts);

    // Once, after the last.
    std::vector<finding>     finish();
    const invariant_result & result() const { return result_; }

private:
    struct place {
        const block_rows & b;
        uint64_t           ubatch;
        uint32_t           row;
    };
    void check_row(const place & at);
    void check_ids(const place & at);
    void check_weights(const place & at);
    void check_topk(const place & at);
    void check_values(const block_rows & b, uint64_t ubatch);
    void report(const char * name, const place & at, const std::string & what);

    std::map<std::pair<block_id, std::string>, finding> findings_;  // by block and name
    std::map<block_id, misread_test>                    misread_;
    std::vector<uint64_t>                               seen_;  // [n_expert] the row that had an id last
    uint64_t                                            stamp_ = 0;
    invariant_result                                    result_;
};

}  // namespace moescope::check
