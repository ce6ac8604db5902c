#include "evaluate/held_out.hpp"

#include <algorithm>
#include <set>

#include "common.h"
#include "llama.h"

#include "core/error.hpp"
#include "io/hash.hpp"

namespace moescope::evaluate {

held_out::held_out(const held_out_options & o) : options_(o), labels_({""}) {
    if (!o.text.empty()) {
        return;  // read when the model is there to cut it
    }
    corpus_ = infer::read_jsonl(o.jsonl, o.corpus);
    std::set<std::string> labels;
    for (const infer::sample & s : corpus_.samples) {
        labels.insert(s.label);
    }
    labels_.assign(labels.begin(), labels.end());
}

std::vector<uint32_t> held_out::label_of_samples() const {
    std::vector<uint32_t> of_sample;
    for (const infer::sample & s : corpus_.samples) {
        of_sample.push_back(
            static_cast<uint32_t>(std::lower_bound(labels_.begin(), labels_.end(), s.label) - labels_.begin()));
    }
    return of_sample;
}

void held_out::prepare(const infer::engine & e, const common_params & params) {
    engine_ = &e;
    if (std::any_of(corpus_.samples.begin(), corpus_.samples.end(),
                    [](const auto & s) { return !s.messages.empty(); })) {
        chat_ = std::make_unique<infer::chat_renderer>(e.model(), params, options_.jinja);
    }
    if (!options_.text.empty()) {
        const std::string text = infer::read_text_file(options_.text);
        corpus_.bytes          = text.size();
        corpus_.hash           = io::hash_bytes(text.data(), text.size());
        bos_                   = llama_vocab_get_add_bos(e.vocab()) ? llama_vocab_bos(e.vocab()) : -1;
        cut_windows(e.tokenize(text), params.n_ctx > 0 ? static_cast<uint32_t>(params.n_ctx) : e.n_ctx());
    }
}

void held_out::cut_windows(std::vector<int32_t> all, uint32_t n_ctx) {
    tokens_ = std::move(all);
    window_ = std::min<size_t>(n_ctx, tokens_.size());
    if (window_ < 2) {
        throw error("the text is no longer than one token, so there is nothing to predict").in(options_.text);
    }
    uint64_t n = tokens_.size() / window_;
    n          = options_.corpus.limit > 0 ? std::min<uint64_t>(n, options_.corpus.limit) : n;
    tokens_.resize(n * window_);
    corpus_.samples.resize(n);
    for (uint64_t i = 0; i < n; ++i) {
        corpus_.samples[i].line = i + 1;
    }
}

std::vector<int32_t> held_out::tokenize(const infer::sample & s) const {
    if (window_ == 0) {
        const std::vector<int32_t> tokens = engine_->tokenize(s.messages.empty() ? s.text : chat_->render(s.messages));
        return tokens.size() < 2 ? std::vector<int32_t>() : tokens;
    }
    const auto           begin = tokens_.begin() + static_cast<ptrdiff_t>((s.line - 1) * window_);
    std::vector<int32_t> window(begin, begin + static_cast<ptrdiff_t>(window_));
    if (bos_ >= 0) {
        window.front() = bos_;
    }
    return window;
}

uint32_t held_out::skip(size_t n) const {
    return options_.skip.value_or(options_.text.empty() ? 0 : static_cast<uint32_t>(n / 2));
}

}  // namespace moescope::evaluate
