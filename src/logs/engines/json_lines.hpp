#pragma once

#include <fstream>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace moescope::logs {

// The documents of a file: one per line, or one over all lines.
class json_lines {
public:
    explicit json_lines(const std::string & path);  // throws error when the file cannot be read

    // Throws error naming the line where it is no JSON.
    bool next(nlohmann::json & document);
    void rewind();

private:
    std::string   path_;
    std::ifstream in_;
    uint64_t      line_ = 0;
};

}  // namespace moescope::logs
