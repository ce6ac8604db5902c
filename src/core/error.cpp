#include "core/error.hpp"

#include <utility>

namespace moescope {

error::error(std::string what) : std::runtime_error(what), what_(std::move(what)) {
    compose();
}

error & error::in(std::string file, int64_t byte_offset) {
    file_   = std::move(file);
    offset_ = byte_offset;
    compose();
    return *this;
}

error & error::fix(std::string advice) {
    advice_ = std::move(advice);
    compose();
    return *this;
}

void error::compose() {
    line_ = file_.empty() ? what_ : file_ + ": " + what_;
    if (offset_ != no_offset) {
        line_ += " (at byte " + std::to_string(offset_) + ")";
    }
    if (!advice_.empty()) {
        line_ += "; " + advice_;
    }
}

}  // namespace moescope
