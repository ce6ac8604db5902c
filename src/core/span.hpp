#pragma once

#include <cstddef>
#include <type_traits>
#include <vector>

namespace moescope {

// A view of n consecutive values that somebody else owns (C++17 has no std::span).
template <class T>
class span {
public:
    span() = default;
    span(T * data, size_t size) : data_(data), size_(size) {}
    span(std::vector<std::remove_const_t<T>> & v) : data_(v.data()), size_(v.size()) {}
    template <class U = T, class = std::enable_if_t<std::is_const_v<U>>>
    span(const std::vector<std::remove_const_t<T>> & v) : data_(v.data()),
                                                          size_(v.size()) {}

    T *    data() const { return data_; }
    size_t size() const { return size_; }
    bool   empty() const { return size_ == 0; }
    T &    operator[](size_t i) const { return data_[i]; }
    T *    begin() const { return data_; }
    T *    end() const { return data_ + size_; }

private:
    T *    data_ = nullptr;
    size_t size_ = 0;
};

}  // namespace moescope
