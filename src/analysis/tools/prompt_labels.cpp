#include "analysis/tools/prompt_labels.hpp"

#include <algorithm>
#include <iterator>

#include <nlohmann/json.hpp>

namespace moescope::analysis {

std::string to_note(const prompt_label & p) {
    nlohmann::ordered_json j = {{"prompt", p.prompt}};
    if (p.line > 0) {
        j["line"] = p.line;
    }
    j["label"] = p.label;
    j["batch"] = p.batch;
    return j.dump();
}

std::optional<prompt_label> parse_prompt_label(const std::string & note) {
    const nlohmann::json j      = nlohmann::json::parse(note, nullptr, false);
    const auto           number = [&](const char * key) {
        return j.contains(key) && j[key].is_number_unsigned() ? j[key].get<uint64_t>() : 0;
    };
    const bool is_one = j.is_object() && j.contains("prompt") && j["prompt"].is_number_unsigned() &&
                        j.contains("label") && j["label"].is_string();
    if (!is_one) {
        return std::nullopt;
    }
    return prompt_label{number("prompt"), number("line"), j["label"].get<std::string>(), number("batch")};
}

std::vector<std::string> prompt_labels(const std::vector<std::string> & notes) {
    constexpr uint64_t       most_prompts = uint64_t{1} << 24;  // a number in a damaged note must not cost memory
    std::vector<std::string> labels;
    for (const std::string & note : notes) {
        const auto p = parse_prompt_label(note);
        if (!p || p->prompt >= most_prompts) {
            continue;
        }
        labels.resize(std::max<size_t>(labels.size(), p->prompt + 1));
        labels[p->prompt] = p->label;
    }
    return labels;
}

std::vector<std::string> without_prompt_labels(const std::vector<std::string> & notes) {
    std::vector<std::string> others;
    std::copy_if(notes.begin(), notes.end(), std::back_inserter(others),
                 [](const std::string & n) { return !parse_prompt_label(n); });
    return others;
}

}  // namespace moescope::analysis
