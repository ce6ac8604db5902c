#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace moescope {

// What is recorded of each routed row. The bit order is the column order in a trace and does not change. (Bit 8 is the
// access list's, in a trace's head.)
enum class column : uint32_t {
    ids         = 1u << 0,  // [k]         expert ids, in the order the model selected them
    weights     = 1u << 1,  // [k]         final gate weights: what multiplies the expert outputs
    weights_raw = 1u << 2,  // [k]         gate weights before normalisation, softmax over k, and scale
    logits      = 1u << 3,  // [n_expert]  router output (with its bias)
    probs       = 1u << 4,  // [n_expert]  after softmax or sigmoid, without the selection bias
    selection   = 1u << 5,  // [n_expert]  the scores top-k reads: biased, masked by group
    norms       = 1u << 6,  // [k]         Euclidean norm of each selected expert's output (after bias and scale)
    gate_input  = 1u << 7,  // [n_embd]    what the router read
    // [m][m] dot products of m vectors: the k outputs of the selected experts, that of the runner-up where it is recorded,
    // the residual stream in front of the block, and behind it. Outputs are not gated; a factor by which the model scales
    // the block's output (Granite) is in them.
    gram      = 1u << 9,
    runner_up = 1u << 10,  // [2] of the expert that would be selected next: its id, and its gate before normalisation
    peaks     = 1u << 11,  // [k] the largest absolute element of each selected expert's output
};

// The columns of floats in the order in which they are stored: all but ids.
inline constexpr column float_columns[] = {
    column::weights, column::weights_raw, column::logits, column::probs,     column::selection,
    column::norms,   column::gate_input,  column::gram,   column::runner_up, column::peaks,
};
inline constexpr size_t n_float_columns = sizeof(float_columns) / sizeof(float_columns[0]);

// Where a column of floats stands in float_columns; n_float_columns for ids.
constexpr size_t column_index(column c) {
    size_t i = 0;
    while (i < n_float_columns && float_columns[i] != c) {
        ++i;
    }
    return i;
}

class column_set {
public:
    constexpr column_set() = default;
    constexpr column_set(column c) : bits_(static_cast<uint32_t>(c)) {}
    static constexpr column_set from_bits(uint32_t bits) {
        column_set s;
        s.bits_ = bits;
        return s;
    }
    // What `all` asks for: what every way of capture has, of any program.
    static constexpr column_set all() { return from_bits((1u << 8) - 1); }
    static constexpr column_set known();

    constexpr bool       has(column c) const { return (bits_ & static_cast<uint32_t>(c)) != 0; }
    constexpr uint32_t   bits() const { return bits_; }
    constexpr column_set operator|(column_set o) const { return from_bits(bits_ | o.bits_); }
    constexpr column_set operator&(column_set o) const { return from_bits(bits_ & o.bits_); }
    constexpr column_set without(column c) const { return from_bits(bits_ & ~static_cast<uint32_t>(c)); }
    constexpr bool       operator==(column_set o) const { return bits_ == o.bits_; }
    constexpr bool       operator!=(column_set o) const { return bits_ != o.bits_; }

private:
    uint32_t bits_ = 0;
};

constexpr column_set column_set::known() {
    column_set s = column::ids;
    for (const column c : float_columns) {
        s = s | c;
    }
    return s;
}

constexpr column_set operator|(column a, column b) {
    return column_set(a) | column_set(b);
}

// In column order: "ids,weights,gate-input".
std::string to_string(column_set set);

}  // namespace moescope
