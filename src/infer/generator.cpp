#include "infer/generator.hpp"

#include <algorithm>

#include "sampling.h"

#include "core/error.hpp"

namespace moescope::infer {

namespace {

using end = generation_result::end;

void check_prompt(const engine & e, const std::vector<int32_t> & prompt) {
    if (prompt.empty()) {
        throw error("the prompt is empty").fix("give a text with -p, -f or --jsonl");
    }
    if (prompt.size() > e.n_ctx()) {
        throw error("the prompt has " + std::to_string(prompt.size()) + " tokens, but the context holds only " +
                    std::to_string(e.n_ctx()))
            .fix("give -c " + std::to_string(prompt.size()) + " or more");
    }
}

[[noreturn]] void throw_failed(engine & e, uint64_t at) {
    const std::string why = e.last_error();
    throw error("llama.cpp failed to decode at token " + std::to_string(at) + (why.empty() ? "" : ": " + why));
}

// Holds back the end of a text while it could still become a stop text.
class stop_filter {
public:
    explicit stop_filter(const std::vector<std::string> & stops) : stops_(stops) {}

    // Appends and returns what may be shown; sets `found` when a stop text is complete.
    std::string add(const std::string & piece) {
        held_ += piece;
        size_t keep = 0;
        for (const std::string & s : stops_) {
            const size_t at = s.empty() ? std::string::npos : held_.find(s);
            if (at != std::string::npos) {
                found = true;
                return held_.substr(0, at);
            }
            for (size_t n = std::min(s.size(), held_.size() + 1); n-- > 1;) {
                if (held_.compare(held_.size() - n, n, s, 0, n) == 0) {
                    keep = std::max(keep, n);
                    break;
                }
            }
        }
        std::string shown = held_.substr(0, held_.size() - keep);
        held_.erase(0, shown.size());
        return shown;
    }
    std::string rest() const { return held_; }

    bool found = false;

private:
    const std::vector<std::string> & stops_;
    std::string                      held_;
};

class generation {
public:
    generation(engine & e, const generation_options & o, const generation_hooks & h) : e_(e), options_(o), hooks_(h) {}

    generation_result run(const std::vector<int32_t> & prompt) {
        check_prompt(e_, prompt);
        e_.forget();
        common_sampler_reset(e_.sampler());
        result_.n_prompt = prompt.size();
        if (!prefill(prompt)) {
            result_.why = end::interrupted;
            return result_;
        }
        for (const int32_t t : prompt) {
            common_sampler_accept(e_.sampler(), t, false);
        }
        sample(prompt.size());
        return result_;
    }

private:
    bool compute(const std::vector<batch_token> & tokens, bool decode) {
        if (hooks_.phase) {
            hooks_.phase(decode);
        }
        result_.n_decodes += 1;
        const decoded how = e_.decode(tokens);
        if (how == decoded::failed || how == decoded::no_room) {
            throw_failed(e_, static_cast<uint64_t>(tokens.front().pos));
        }
        return how == decoded::ok;
    }

    bool prefill(const std::vector<int32_t> & prompt) {
        std::vector<batch_token> piece;
        for (size_t at = 0; at < prompt.size(); at += piece.size()) {
            piece.clear();
            for (size_t i = at; i < std::min<size_t>(prompt.size(), at + e_.n_ubatch()); ++i) {
                piece.push_back({prompt[i], static_cast<int32_t>(i), 0, options_.rows.wants(i, prompt.size())});
            }
            if (!compute(piece, false)) {
                return false;
            }
            if (hooks_.prefilled) {
                hooks_.prefilled(at + piece.size(), prompt.size());
            }
        }
        return true;
    }

    void sample(uint64_t pos) {
        stop_filter filter(options_.stop);
        while (true) {
            if (options_.n_predict >= 0 && result_.n_generated >= static_cast<uint64_t>(options_.n_predict)) {
                result_.why = end::limit;
                break;
            }
            const int32_t token = common_sampler_sample(e_.sampler(), e_.context(), -1);
            common_sampler_accept(e_.sampler(), token, true);
            if (e_.ends_generation(token)) {
                result_.why = end::model;
                break;
            }
            result_.n_generated += 1;
            show(filter.add(e_.piece(token)));
            if (filter.found) {
                result_.why = end::stop_text;
                return;
            }
            if (pos >= e_.n_ctx()) {
                result_.why = end::context;
                break;
            }
            if (!compute({{token, static_cast<int32_t>(pos), 0, true}}, true)) {
                result_.why = end::interrupted;
                break;
            }
            pos += 1;
        }
        show(filter.rest());
    }

    void show(const std::string & text) {
        if (hooks_.text && !text.empty()) {
            hooks_.text(text);
        }
    }

    engine &                   e_;
    const generation_options & options_;
    const generation_hooks &   hooks_;
    generation_result          result_;
};

}  // namespace

generation_result generate(engine & e, const std::vector<int32_t> & prompt, const generation_options & options,
                           const generation_hooks & hooks) {
    return generation(e, options, hooks).run(prompt);
}

}  // namespace moescope::infer
