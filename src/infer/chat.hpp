#pragma once

#include <memory>
#include <string>
#include <vector>

#include "infer/corpus.hpp"

struct common_chat_templates;
struct common_params;
struct llama_model;

namespace moescope::infer {

// Renders messages through a model's chat template (or the one given with --chat-template), as llama.cpp's programs do.
class chat_renderer {
public:
    chat_renderer(const llama_model * model, const common_params & params, bool use_jinja);
    ~chat_renderer();

    // The text to tokenize. Where the last message is not the assistant's, its turn is opened. Throws error when the
    // template cannot render these messages.
    std::string render(const std::vector<chat_message> & messages) const;

private:
    struct deleter {
        void operator()(common_chat_templates * t) const;
    };
    std::unique_ptr<common_chat_templates, deleter> templates_;
    std::string                                     system_prompt_;
    bool                                            use_jinja_;
};

}  // namespace moescope::infer
