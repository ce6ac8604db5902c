#include "analysis/tools/prompt_labels.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace moescope::analysis {

namespace {

// The note as an object; null where it is something else.
nlohmann::json label_note(const std::string & note) {
    const nlohmann::json j      = nlohmann::json::parse(note, nullptr, false);
    const bool           is_one = j.is_object() && j.contains("prompt") && j["prompt"].is_number_unsigned() &&
                        j.contains("label") && j["label"].is_string();
    return is_one ? j : nlohmann::json();
}

}  // namespace

bool is_prompt_label(const std::string & note) {
    return !label_note(note).is_null();
}

std::vector<std::string> prompt_labels(const std::vector<std::string> & notes) {
    constexpr size_t         most_prompts = size_t{1} << 24;  // a number in a damaged note must not cost memory
    std::vector<std::string> labels;
    for (const std::string & note : notes) {
        const nlohmann::json j = label_note(note);
        if (j.is_null() || j["prompt"] >= most_prompts) {
            continue;
        }
        const auto prompt = j["prompt"].get<size_t>();
        labels.resize(std::max(labels.size(), prompt + 1));
        labels[prompt] = j["label"].get<std::string>();
    }
    return labels;
}

}  // namespace moescope::analysis
