#include "cli/llama/prompts.hpp"

#include <algorithm>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "common.h"

#include "cli/llama/model_verb.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"
#include "infer/chat.hpp"

namespace moescope::cli {

namespace {

std::vector<infer::sample> read_samples(const prompt_options & o, const common_params & params) {
    if (o.jsonl.empty()) {
        infer::sample s;
        s.text = params.prompt;
        return {s};
    }
    infer::corpus c = infer::read_jsonl(o.jsonl, o.corpus);
    note_corpus(c, o.jsonl, o.corpus.label_key);
    return std::move(c.samples);
}

}  // namespace

void add_prompt_options(CLI::App & app, prompt_options & o) {
    app.add_option("--jsonl", o.jsonl, "prompts, one JSON object per line: prompt (and response), text, or messages")
        ->type_name("FILE");
    app.add_option("--prompt-key", o.corpus.prompt_key, "the JSONL field of the prompt (default: prompt)")
        ->type_name("KEY");
    app.add_option("--response-key", o.corpus.response_key, "the JSONL field of the response (default: response)")
        ->type_name("KEY");
    app.add_option("--label-key", o.corpus.label_key, "the JSONL field of a label that the trace keeps, e.g. a domain")
        ->type_name("KEY");
    app.add_option("--limit", o.corpus.limit, "only the first N prompts of the JSONL file")->type_name("N");
    app.add_option_function<std::string>(
           "--max-line", [&o](const std::string & size) { o.corpus.max_line = parse_bytes(size, "--max-line"); },
           "a longer JSONL line counts as malformed (default: 16M)")
        ->type_name("BYTES");
    app.add_flag("--strict", o.corpus.strict, "stop at a malformed JSONL line instead of skipping it");
    app.add_flag("--chat", o.chat, "apply the model's chat template to the prompt");
}

void check_prompt_source(const prompt_options & o, const model_verb & verb) {
    const bool p = verb.given("-p"), f = verb.given("-f") || verb.given("-bf");
    const int  n = int(p) + int(f) + int(!o.jsonl.empty());
    if (n == 0) {
        throw usage_error("no prompt was given: use -p TEXT, -f FILE or --jsonl FILE");
    }
    if (n > 1) {
        throw usage_error("give only one of -p, -f and --jsonl");
    }
    if (verb.given("-f")) {
        infer::read_text_file(verb.value_of("-f"));  // llama.cpp's parser would call a missing file a bad option
    }
}

std::vector<run_prompt> read_prompts(const prompt_options & o, const common_params & params, const infer::engine & e,
                                     const model_verb & verb) {
    std::unique_ptr<infer::chat_renderer>
                            chat;  // made when needed: a template that does not parse is no matter otherwise
    std::vector<run_prompt> prompts;
    for (infer::sample & s : read_samples(o, params)) {
        if (o.chat && s.messages.empty()) {
            s.messages = {{"user", s.text}};
        }
        if (s.messages.empty() && s.text.empty()) {
            throw error("the prompt is empty").fix("give a text with -p, -f or --jsonl");
        }
        if (!s.messages.empty() && !chat) {
            chat = std::make_unique<infer::chat_renderer>(e.model(), params, !verb.given("--no-jinja"));
        }
        const std::string text = s.messages.empty() ? s.text : chat->render(s.messages);
        prompts.push_back({s.line, s.label, e.tokenize(text)});
        const size_t n = prompts.back().tokens.size();
        if (n > e.n_ctx()) {
            const std::string where = s.line == 0 ? "the prompt" : fmt::format("line {}: the prompt", s.line);
            throw error(fmt::format("{} has {} tokens, but the context holds only {}", where, with_commas(n),
                                    with_commas(e.n_ctx())))
                .in(o.jsonl)
                .fix(fmt::format("give -c {} or more", n));
        }
    }
    return prompts;
}

void note_corpus(const infer::corpus & c, const std::string & file, const std::string & label_key) {
    constexpr size_t shown = 5;
    for (size_t i = 0; i < c.malformed.size() && i < shown; ++i) {
        note(fmt::format("{}: line {} skipped: {}", file, c.malformed[i].line, printable(c.malformed[i].what)));
    }
    if (c.malformed.size() > shown) {
        note(fmt::format("{}: {} lines skipped in all", file, with_commas(c.malformed.size())));
    }
    if (c.n_empty > 0) {
        note(fmt::format("{}: {} empty samples skipped", file, with_commas(c.n_empty)));
    }
    const bool labelled = std::any_of(c.samples.begin(), c.samples.end(), [](auto & s) { return !s.label.empty(); });
    if (!label_key.empty() && !c.samples.empty() && !labelled) {
        note(fmt::format("{}: no line has the field '{}' of --label-key, so nothing is labelled", file,
                         printable(label_key)));
    }
}

}  // namespace moescope::cli
