#include "formats/text_out.hpp"

#include <cerrno>
#include <cstring>

#include "core/error.hpp"

namespace moescope::formats {

void text_out::flush() {
    if (std::fwrite(text_.data(), 1, text_.size(), file_) != text_.size()) {
        throw error(std::string("cannot write the export: ") + std::strerror(errno));
    }
    text_.clear();
}

}  // namespace moescope::formats
