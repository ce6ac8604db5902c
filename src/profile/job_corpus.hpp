#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "infer/chat.hpp"
#include "infer/corpus.hpp"
#include "infer/engine.hpp"
#include "profile/options.hpp"
#include "stats/moestats.hpp"

struct common_params;

namespace moescope::profile {

// The corpus of a job: its samples, and what each is as tokens.
class job_corpus {
public:
    // Reads the file. Throws error naming it. A plain text has no samples before prepare().
    explicit job_corpus(const job_options & o);

    // What samples need of the model: its chat template, or its context's length to cut a text by. The engine must outlive
    // this object. Throws error for an empty text.
    void prepare(const infer::engine & e, const common_params & params);

    const infer::corpus &              file() const { return corpus_; }
    const std::vector<infer::sample> & samples() const { return corpus_.samples; }
    std::vector<std::string>           labels() const;  // each once, in order; none without a label key
    stats::corpus_part                 part() const;    // of which nothing is computed yet

    std::vector<int32_t> tokenize(const infer::sample & s) const;

private:
    void cut_windows();

    const job_options &                   options_;
    infer::corpus                         corpus_;
    std::string                           text_;     // of --text, until it is cut
    std::vector<std::vector<int32_t>>     windows_;  // of a text; sample.line - 1 is the index
    const infer::engine *                 engine_ = nullptr;
    std::unique_ptr<infer::chat_renderer> chat_;
};

}  // namespace moescope::profile
