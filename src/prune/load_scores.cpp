#include "prune/load_scores.hpp"

#include <filesystem>

#include <fmt/format.h>

#include "core/error.hpp"
#include "gguf/fingerprint.hpp"
#include "stats/moestats.hpp"

namespace moescope::prune {

expert_scores load_scores(const std::string & path, const score_request & request) {
    if (stats::is_moestats(path)) {
        return scores_of_profile(stats::read_moestats(path), path, request);
    }
    if (request.balance != label_balance::rows) {
        throw usage_error("this file has no sums by label").in(path).fix("give the .moestats of moescope profile");
    }
    return read_expert_scores(path, request.criterion);
}

score_doubt doubt_about_scores(const stats::moestats & profile, const std::string & path,
                               const gguf::model_file & model) {
    if (!profile.complete()) {
        return {path + " is not finished: it covers only part of its corpus", true};
    }
    if (profile.model_fingerprint == gguf::fingerprint(model.path())) {
        return {};
    }
    std::error_code unknown;
    if (profile.model_fingerprint == 0 &&
        profile.model.file_size == std::filesystem::file_size(model.path(), unknown)) {
        return {fmt::format("{} was recorded where {} is no longer; its size fits, and more is not known", path,
                            profile.model.file),
                false};
    }
    if (profile.shape_fingerprint != 0 && profile.shape_fingerprint == gguf::shape_fingerprint(model)) {
        return {
            fmt::format("{} was measured on {}, whose tensors have the same names and shapes: another quantisation, or "
                        "another training",
                        path, profile.model.file),
            false};
    }
    return {
        fmt::format("{} was measured on another file ({}, {} bytes): its scores are valid only if the same ids are the "
                    "same experts",
                    path, profile.model.file, profile.model.file_size),
        true};
}

}  // namespace moescope::prune
