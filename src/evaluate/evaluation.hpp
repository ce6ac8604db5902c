#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/routing.hpp"
#include "evaluate/damage_sums.hpp"
#include "evaluate/plan.hpp"

namespace moescope::evaluate {

// An evaluation, whole or on its way: all sums, what they are of, and where to go on. Kept as a .moeval file (CBOR, RFC 8949;
// docs/evaluate.md lists its keys), so that it can be resumed and its shards added up.
struct evaluation {
    model_info model;
    // What changes the sums, as name and value. Two evaluations are of the same thing if these are equal.
    std::vector<std::pair<std::string, std::string>> identity;
    std::vector<plan>                                plans;
    std::vector<std::string>                         labels;      // {""} without labels
    std::vector<uint32_t>                            unit_label;  // [units] index of its label

    std::string           corpus;                    // file name without folder
    uint64_t              corpus_samples = 0;        // of all shards
    uint64_t              malformed = 0, empty = 0;  // lines and samples skipped, of the whole file
    std::vector<uint64_t> shards   = {0};            // that are in here, ascending, of n_shards
    uint64_t              n_shards = 1;
    uint64_t              samples = 0, tokens = 0;  // computed, whether or not they have predictions
    uint64_t              truncated = 0;            // samples cut to the context
    std::vector<uint64_t> failed;                   // line numbers of samples that do not decode
    std::vector<uint64_t> label_samples;            // [labels] samples with predictions

    std::vector<std::vector<damage_sums>> sums;  // [plans][units]

    uint64_t next_unit = 0, next_group = 0;  // where a resume goes on
    bool     complete = false;
    // The group at work: the plans that are done, which are not yet in `sums`.
    std::vector<uint32_t>                 group;        // indices of its samples
    std::vector<std::vector<damage_sums>> group_plans;  // [plans done][samples of the group]

    double predictions() const;  // tokens whose prediction was compared
};

// "the corpus": the first entry of `identity` that is not the same; empty where all are.
std::string difference(const evaluation & a, const evaluation & b);

// Adds another shard of the same evaluation. Throws error naming `from_name` where it is of something else, not finished, or
// already in there.
void add_shard(evaluation & to, const evaluation & from, const std::string & from_name);

bool is_moeval(const std::string & path);  // false where it cannot be read

// Throws error naming the file when it is missing, no .moeval, of a newer version, or damaged.
evaluation  read_moeval(const std::string & path);
evaluation  decode_moeval(const std::string & bytes, const std::string & name);
std::string encode_moeval(const evaluation & e);

}  // namespace moescope::evaluate
