#include "core/fan_out.hpp"

#include <algorithm>
#include <exception>

namespace moescope {

void fan_out::add(std::unique_ptr<routing_sink> sink) {
    routing_sink * const s = sink.get();
    sinks_.push_back({s, std::move(sink)});
}

template <class F>
void fan_out::for_each(F f) {
    for (size_t i = 0; i < sinks_.size();) {
        try {
            f(*sinks_[i].sink);
            ++i;
        } catch (const std::exception & e) {
            if (!on_failure) {
                throw;
            }
            sinks_.erase(sinks_.begin() + static_cast<std::ptrdiff_t>(i));
            on_failure(e.what());
        }
    }
}

void fan_out::model(const model_info & m) {
    for_each([&](routing_sink & s) { s.model(m); });
}

void fan_out::piece(int32_t token, const std::string & text) {
    for_each([&](routing_sink & s) { s.piece(token, text); });
}

uint32_t fan_out::access(const access_list & list) {
    uint32_t number = 0;
    for_each([&](routing_sink & s) { number = std::max(number, s.access(list)); });
    return number;
}

void fan_out::ubatch(const routed_ubatch & u) {
    for_each([&](routing_sink & s) { s.ubatch(u); });
}

void fan_out::memory(const memory_event & e) {
    for_each([&](routing_sink & s) { s.memory(e); });
}

void fan_out::note(const std::string & text) {
    for_each([&](routing_sink & s) { s.note(text); });
}

}  // namespace moescope
