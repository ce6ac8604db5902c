#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "infer/chat.hpp"
#include "infer/corpus.hpp"
#include "infer/engine.hpp"

struct common_params;

namespace moescope::evaluate {

// Where the text comes from, and what of it counts.
struct held_out_options {
    std::string             jsonl, text;  // one of the two
    infer::corpus_options   corpus;       // of a text the limit alone
    bool                    jinja = true;
    std::optional<uint32_t> skip;  // tokens at the beginning of each sample that are context alone
};

// The text that an evaluation is on: samples, and which of their tokens are predicted.
class held_out {
public:
    // Reads the file. Throws error naming it. A plain text has no samples before prepare().
    explicit held_out(const held_out_options & o);

    // What samples need of the model: a chat template, or the context's length to cut a text by. The engine must outlive this
    // object.
    //
    // A plain text is cut as llama-perplexity cuts it: windows of n_ctx tokens one after the other, the first token of each
    // replaced by BOS where the model adds one, the rest at the end left out. Only a text shorter than a window is one by
    // itself.
    void prepare(const infer::engine & e, const common_params & params);

    const infer::corpus &              file() const { return corpus_; }
    const std::vector<infer::sample> & samples() const { return corpus_.samples; }

    const std::vector<std::string> & labels() const {
        return labels_;
    }  // each once, in order; {""} without a label key
    std::vector<uint32_t> label_of_samples() const;

    // A sample's tokens; none where it has fewer than two, so that nothing can be predicted.
    std::vector<int32_t> tokenize(const infer::sample & s) const;

    // Tokens at the beginning of a sample of n tokens that are not predicted from: llama-perplexity's half of a window for
    // plain text, else none. The token at i ≥ skip(n) is scored on predicting the one at i + 1.
    uint32_t skip(size_t n) const;

private:
    void cut_windows(std::vector<int32_t> all, uint32_t n_ctx);

    const held_out_options &              options_;
    infer::corpus                         corpus_;
    std::vector<std::string>              labels_;
    std::vector<int32_t>                  tokens_;      // of a plain text
    size_t                                window_ = 0;  // of a plain text, in tokens
    int32_t                               bos_    = -1;
    const infer::engine *                 engine_ = nullptr;
    std::unique_ptr<infer::chat_renderer> chat_;
};

}  // namespace moescope::evaluate
