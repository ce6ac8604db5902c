#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moescope::logs {

enum class number_type { boolean, i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64 };

uint32_t number_bytes(number_type type);

// An array of any shape that somebody else owns: a .npy member, or a tensor in its storage.
class array_view {
public:
    array_view() = default;
    // strides: in elements, none negative. Throws error naming `what` unless every element lies in the `size` bytes.
    array_view(const void * data, uint64_t size, number_type type, std::vector<uint64_t> shape,
               std::vector<uint64_t> strides, const std::string & what);

    number_type                   type() const { return type_; }
    const std::vector<uint64_t> & shape() const { return shape_; }
    size_t                        n_dims() const { return shape_.size(); }
    uint64_t                      dim(size_t i) const { return shape_[i]; }
    uint64_t                      n_elements() const;
    bool is_integer() const { return type_ < number_type::f16 && type_ != number_type::boolean; }

    double first() const { return real_at(0); }  // of an array that has elements
    // Elements by their place; arguments as many as dimensions. An integer beyond 63 bits is INT64_MAX.
    int64_t integer(uint64_t i) const { return integer_at(i * strides_[0]); }
    int64_t integer(uint64_t i, uint64_t j) const { return integer_at(i * strides_[0] + j * strides_[1]); }
    int64_t integer(uint64_t i, uint64_t j, uint64_t k) const {
        return integer_at(i * strides_[0] + j * strides_[1] + k * strides_[2]);
    }
    double real(uint64_t i) const { return real_at(i * strides_[0]); }
    double real(uint64_t i, uint64_t j) const { return real_at(i * strides_[0] + j * strides_[1]); }
    double real(uint64_t i, uint64_t j, uint64_t k) const {
        return real_at(i * strides_[0] + j * strides_[1] + k * strides_[2]);
    }

private:
    int64_t integer_at(uint64_t element) const;
    double  real_at(uint64_t element) const;

    const uint8_t *       data_ = nullptr;
    number_type           type_ = number_type::i32;
    std::vector<uint64_t> shape_, strides_;
};

// "[3, 4]"
std::string shape_text(const array_view & a);

}  // namespace moescope::logs
