#pragma once

#include <cstdint>
#include <string>

namespace moescope::formats {

// A .npy file (format version 1.0, C order) that grows by rows; its shape is written at the end. Holds no file open
// between pieces, because an export has hundreds of arrays.
class npy_array {
public:
    // type: numpy's name of a little-endian type, "<f4"; width: values per row, 0: the array has one dimension.
    npy_array(std::string path, std::string type, size_t value_bytes, size_t width);

    void append(const void * values, size_t n_values);  // whole rows; throws error when the disk is full
    void finish();                                      // the last call

    const std::string & path() const { return path_; }
    const std::string & type() const { return type_; }
    uint64_t            rows() const { return n_values_ / (width_ ? width_ : 1); }
    size_t              width() const { return width_; }

private:
    void        flush();
    std::string header() const;

    std::string path_, type_;
    size_t      value_bytes_, width_;
    uint64_t    n_values_ = 0;
    bool        created_  = false;
    std::string pending_;
};

}  // namespace moescope::formats
