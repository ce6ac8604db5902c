#include "infer/chat.hpp"

#include "chat.h"
#include "common.h"

#include "core/error.hpp"

namespace moescope::infer {

void chat_renderer::deleter::operator()(common_chat_templates * t) const {
    common_chat_templates_free(t);
}

chat_renderer::chat_renderer(const llama_model * model, const common_params & params, bool use_jinja)
    : system_prompt_(params.system_prompt),
      use_jinja_(use_jinja) {
    try {
        templates_.reset(common_chat_templates_init(model, params.chat_template).release());
    } catch (const std::exception & e) {
        throw error(std::string("the model's chat template does not parse: ") + e.what())
            .in(params.model.path)
            .fix("give one with --chat-template");
    }
}

chat_renderer::~chat_renderer() = default;

std::string chat_renderer::render(const std::vector<chat_message> & messages) const {
    common_chat_templates_inputs inputs;
    inputs.use_jinja      = use_jinja_;
    const bool own_system = !messages.empty() && messages.front().role == "system";
    if (!system_prompt_.empty() && !own_system) {
        inputs.messages.emplace_back();
        inputs.messages.back().role    = "system";
        inputs.messages.back().content = system_prompt_;
    }
    for (const chat_message & m : messages) {
        inputs.messages.emplace_back();
        inputs.messages.back().role    = m.role;
        inputs.messages.back().content = m.content;
    }
    inputs.add_generation_prompt = messages.empty() || messages.back().role != "assistant";
    try {
        return common_chat_templates_apply(templates_.get(), inputs).prompt;
    } catch (const std::exception & e) {
        const std::string what = e.what();
        throw error("the chat template cannot render this conversation: " + what.substr(0, what.find('\n')));
    }
}

}  // namespace moescope::infer
