#include "logs/engines/json_lines.hpp"

#include <iterator>

#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace moescope::logs {

using nlohmann::json;

json_lines::json_lines(const std::string & path) : path_(path), in_(path, std::ios::binary) {
    if (!in_) {
        throw error("cannot open").in(path);
    }
}

void json_lines::rewind() {
    in_.clear();
    in_.seekg(0);
    line_ = 0;
}

bool json_lines::next(json & document) {
    std::string text;
    while (std::getline(in_, text)) {
        line_ += 1;
        if (text.find_first_not_of(" \t\r") == std::string::npos) {
            continue;
        }
        document = json::parse(text, nullptr, false);
        if (document.is_discarded() && line_ == 1) {  // perhaps one document over several lines
            text += '\n';
            text.append(std::istreambuf_iterator<char>(in_), {});
            document = json::parse(text, nullptr, false);
        }
        if (document.is_discarded()) {
            throw error("line " + std::to_string(line_) + " is no JSON").in(path_);
        }
        return true;
    }
    return false;
}

}  // namespace moescope::logs
