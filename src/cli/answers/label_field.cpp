#include "cli/answers/label_field.hpp"

#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace moescope::cli {

std::vector<std::string> read_label_field(const std::string & path, const std::string & key) {
    std::ifstream in(path);
    if (!in) {
        throw error("cannot open").in(path).fix("--jsonl takes the file that the trace was recorded from");
    }
    std::vector<std::string> labels;
    for (std::string line; std::getline(in, line);) {
        if (line.find_first_not_of(" \t\r") == std::string::npos) {
            continue;
        }
        const nlohmann::json j = nlohmann::json::parse(line, nullptr, false);
        if (!j.is_object() || !j.contains(key)) {
            throw error(fmt::format("line {} has no field '{}'", labels.size() + 1, key))
                .in(path)
                .fix("--label-key names the field");
        }
        labels.push_back(j[key].is_string() ? j[key].get<std::string>() : j[key].dump());
    }
    return labels;
}

}  // namespace moescope::cli
