#include "core/fan_out.hpp"

namespace moescope {

void fan_out::model(const model_info & m) {
    for (routing_sink * s : sinks_) {
        s->model(m);
    }
}

void fan_out::piece(int32_t token, const std::string & text) {
    for (routing_sink * s : sinks_) {
        s->piece(token, text);
    }
}

uint32_t fan_out::access(const access_list & list) {
    uint32_t number = 0;
    for (size_t i = 0; i < sinks_.size(); ++i) {
        const uint32_t n = sinks_[i]->access(list);
        number           = i == 0 ? n : number;
    }
    return number;
}

void fan_out::ubatch(const routed_ubatch & u) {
    for (routing_sink * s : sinks_) {
        s->ubatch(u);
    }
}

void fan_out::note(const std::string & text) {
    for (routing_sink * s : sinks_) {
        s->note(text);
    }
}

std::unique_ptr<routing_sink> forward_to(routing_sink & target) {
    auto out = std::make_unique<fan_out>();
    out->add(target);
    return out;
}

}  // namespace moescope
