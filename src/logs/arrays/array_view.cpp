#include "logs/arrays/array_view.hpp"

#include <algorithm>
#include <cstring>

#include "core/error.hpp"
#include "trace/format.hpp"

namespace moescope::logs {

namespace {

template <class T>
T load(const uint8_t * data, uint64_t element) {
    T v;
    std::memcpy(&v, data + element * sizeof(T), sizeof(T));
    return v;
}

float from_bf16(uint16_t bits) {
    const uint32_t wide = uint32_t{bits} << 16;
    float          v;
    std::memcpy(&v, &wide, sizeof(v));
    return v;
}

}  // namespace

uint32_t number_bytes(number_type type) {
    switch (type) {
        case number_type::boolean:
        case number_type::i8:
        case number_type::u8: return 1;
        case number_type::i16:
        case number_type::u16:
        case number_type::f16:
        case number_type::bf16: return 2;
        case number_type::i32:
        case number_type::u32:
        case number_type::f32: return 4;
        default: return 8;
    }
}

array_view::array_view(const void * data, uint64_t size, number_type type, std::vector<uint64_t> shape,
                       std::vector<uint64_t> strides, const std::string & what)
    : data_(static_cast<const uint8_t *>(data)),
      type_(type),
      shape_(std::move(shape)),
      strides_(std::move(strides)) {
    if (std::find(shape_.begin(), shape_.end(), uint64_t{0}) != shape_.end()) {
        return;  // no elements at all
    }
    const uint64_t there = size / number_bytes(type);
    uint64_t       last = 0, n = 1;
    bool           fits = shape_.size() == strides_.size();
    for (size_t i = 0; i < shape_.size() && fits; ++i) {
        // Divisions, because products of what a file says may overflow.
        fits = (strides_[i] == 0 || (shape_[i] - 1) <= there / strides_[i]) && shape_[i] <= UINT64_MAX / n;
        n    = fits ? n * shape_[i] : n;
        last = fits ? last + (shape_[i] - 1) * strides_[i] : last;
        fits = fits && last < there;
    }
    // Strides of 0 repeat elements; nothing that is read here does, and a small file must not stand for a huge array.
    if (!fits || last >= there || n > there) {
        throw error(what + " is longer than its data");
    }
}

uint64_t array_view::n_elements() const {
    uint64_t n = 1;
    for (const uint64_t d : shape_) {
        n *= d;
    }
    return n;
}

int64_t array_view::integer_at(uint64_t element) const {
    switch (type_) {
        case number_type::boolean: return load<uint8_t>(data_, element) != 0;
        case number_type::i8: return load<int8_t>(data_, element);
        case number_type::i16: return load<int16_t>(data_, element);
        case number_type::i32: return load<int32_t>(data_, element);
        case number_type::i64: return load<int64_t>(data_, element);
        case number_type::u8: return load<uint8_t>(data_, element);
        case number_type::u16: return load<uint16_t>(data_, element);
        case number_type::u32: return load<uint32_t>(data_, element);
        case number_type::u64:
            return static_cast<int64_t>(std::min<uint64_t>(load<uint64_t>(data_, element), INT64_MAX));
        default: return -1;  // readers ask is_integer() first
    }
}

double array_view::real_at(uint64_t element) const {
    switch (type_) {
        case number_type::f16: return trace::from_f16(load<uint16_t>(data_, element));
        case number_type::bf16: return from_bf16(load<uint16_t>(data_, element));
        case number_type::f32: return load<float>(data_, element);
        case number_type::f64: return load<double>(data_, element);
        default: return static_cast<double>(integer_at(element));
    }
}

std::string shape_text(const array_view & a) {
    std::string text;
    for (const uint64_t d : a.shape()) {
        text += (text.empty() ? "" : ", ") + std::to_string(d);
    }
    return "[" + text + "]";
}

}  // namespace moescope::logs
