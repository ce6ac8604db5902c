#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "analysis/tools/unknown.hpp"
#include "core/routing.hpp"

namespace moescope::analysis {

// How far a router's input a lies from the next captured layer's b, over their n elements, in double precision.
enum class drift_measure : size_t {
    cosine,           // a·b / (‖a‖ ‖b‖)
    cosine_distance,  // 1 − cosine
    euclidean,        // ‖a − b‖
    l2_normalised,    // ‖a/‖a‖ − b/‖b‖‖
    pearson,          // correlation of the elements
    mean_abs,         // Σ|a − b| / n
};
inline constexpr size_t n_drift_measures = 6;

using drift_values = std::array<double, n_drift_measures>;

// Unknown where a measure is not defined: a zero vector has no cosine, a constant one no correlation.
drift_values measure_drift(const float * a, const float * b, size_t n);

// mean, sd of a sample, min, max and median of one measure.
struct drift_summary {
    uint64_t n    = 0;
    double   mean = unknown, sd = unknown, min = unknown, max = unknown, median = unknown;
};
drift_summary summarise(std::vector<float> values);  // values that are not a number are left out

struct drift_pair {
    int32_t                                          from_layer = 0, to_layer = 0;
    std::vector<uint32_t>                            step;    // [rows] index into gate_drift_result::steps
    std::array<std::vector<float>, n_drift_measures> values;  // [rows] each
};

struct drift_step {
    uint32_t     batch = 0;
    int32_t      pos = -1, seq = -1, token = -1;
    drift_values mean;  // over the layer pairs
};

struct gate_drift_result {
    std::vector<drift_pair> pairs;                       // by layer
    std::vector<drift_step> steps;                       // one per token, in the order in which they ran
    uint64_t                rows_without_partner = 0;    // rows that only one layer of the pair computed
    std::vector<float>      all(drift_measure m) const;  // over all pairs and steps
};

// Keeps 28 bytes per row and pair, which the gate inputs themselves outweigh by n_embd / 7.
class gate_drift final : public routing_sink {
public:
    // every_row: also prefilled tokens, else decoded ones alone.
    explicit gate_drift(bool every_row = false) : every_row_(every_row) {}

    void                      ubatch(const routed_ubatch & u) override;
    const gate_drift_result & result() const { return result_; }

private:
    drift_pair & pair(int32_t from, int32_t to);
    void         add_pair(const routed_ubatch & u, const block_rows & a, const block_rows & b);

    bool                                                every_row_;
    gate_drift_result                                   result_;
    std::vector<int64_t>                                step_of_token_;  // of the ubatch at hand; -1: none
    std::vector<int64_t>                                row_of_token_;
    std::vector<drift_values>                           sum_;  // per new step
    std::vector<std::array<uint32_t, n_drift_measures>> n_;
};

}  // namespace moescope::analysis
