#include "profile/job_corpus.hpp"

#include <algorithm>
#include <set>

#include "core/error.hpp"
#include "io/hash.hpp"
#include "io/path.hpp"

namespace moescope::profile {

namespace {

stats::corpus_selection selection_of(const job_options & o) {
    stats::corpus_selection s;
    if (o.text.empty()) {
        s.fields = {o.corpus.prompt_key, o.corpus.response_key, o.corpus.label_key};
    }
    s.limit = o.corpus.limit;
    if (o.corpus.shuffle) {
        s.shuffle_seed = o.corpus.shuffle_seed;
    }
    s.shard    = o.shard;
    s.n_shards = o.n_shards;
    return s;
}

}  // namespace

job_corpus::job_corpus(const job_options & o) : options_(o) {
    if (o.text.empty()) {
        corpus_ = infer::read_jsonl(o.jsonl, o.corpus);
        return;
    }
    text_         = infer::read_text_file(o.text);
    corpus_.bytes = text_.size();
    corpus_.hash  = io::hash_bytes(text_.data(), text_.size());
}

void job_corpus::prepare(const infer::engine & e, const common_params & params) {
    engine_ = &e;
    if (std::any_of(corpus_.samples.begin(), corpus_.samples.end(),
                    [](const auto & s) { return !s.messages.empty(); })) {
        chat_ = std::make_unique<infer::chat_renderer>(e.model(), params, options_.jinja);
    }
    if (!options_.text.empty()) {
        cut_windows();
    }
}

// Windows of the context's length, each beginning as the model wants a text to begin.
void job_corpus::cut_windows() {
    const std::vector<int32_t> all    = engine_->tokenize(text_);
    const std::vector<int32_t> prefix = engine_->tokenize("");  // BOS, where the model has one
    const size_t               skip   = std::min(prefix.size(), all.size());
    const size_t               step   = engine_->n_ctx() - std::min<size_t>(prefix.size(), engine_->n_ctx() - 1);
    for (size_t at = skip; at < all.size(); at += step) {
        std::vector<int32_t> window = prefix;
        window.insert(window.end(), all.begin() + static_cast<ptrdiff_t>(at),
                      all.begin() + static_cast<ptrdiff_t>(std::min(all.size(), at + step)));
        windows_.push_back(std::move(window));
        if (options_.corpus.limit > 0 && windows_.size() == options_.corpus.limit) {
            break;
        }
    }
    if (windows_.empty()) {
        throw error("the file holds no text").in(options_.text);
    }
    for (uint64_t i = 0; i < windows_.size(); ++i) {
        corpus_.samples.emplace_back();
        corpus_.samples.back().line = i + 1;
    }
    text_.clear();
    text_.shrink_to_fit();
}

std::vector<std::string> job_corpus::labels() const {
    std::set<std::string> labels;
    for (const infer::sample & s : corpus_.samples) {
        labels.insert(s.label);
    }
    return options_.corpus.label_key.empty() ? std::vector<std::string>()
                                             : std::vector<std::string>(labels.begin(), labels.end());
}

stats::corpus_part job_corpus::part() const {
    stats::corpus_part part;
    part.name      = io::base_name(options_.text.empty() ? options_.jsonl : options_.text);
    part.bytes     = corpus_.bytes;
    part.hash      = corpus_.hash;
    part.selection = selection_of(options_);
    part.empty     = corpus_.n_empty;
    part.malformed = corpus_.malformed.size();
    return part;
}

std::vector<int32_t> job_corpus::tokenize(const infer::sample & s) const {
    if (!windows_.empty()) {
        return windows_[s.line - 1];
    }
    return engine_->tokenize(s.messages.empty() ? s.text : chat_->render(s.messages));
}

}  // namespace moescope::profile
