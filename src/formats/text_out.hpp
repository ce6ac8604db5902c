#pragma once

#include <cstdio>
#include <string>

namespace moescope::formats {

// Text on its way to a file, handed over in large pieces. Formats append to text() and call drain() now and then.
class text_out {
public:
    explicit text_out(std::FILE * file) : file_(file) {}

    std::string & text() { return text_; }
    void          drain() {
                 if (text_.size() >= enough) {
                     flush();
        }
    }
    void flush();  // throws error when the file cannot be written

private:
    static constexpr size_t enough = 64u << 10;

    std::FILE * file_;
    std::string text_;
};

}  // namespace moescope::formats
