#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/routing.hpp"

namespace moescope {

// Hands captured routing to several sinks, in the order in which they were added; it owns none of them.
class fan_out final : public routing_sink {
public:
    void add(routing_sink & sink) { sinks_.push_back(&sink); }

    void     model(const model_info & m) override;
    void     piece(int32_t token, const std::string & text) override;
    uint32_t access(const access_list & list) override;  // the first sink's number
    void     ubatch(const routed_ubatch & u) override;
    void     note(const std::string & text) override;

private:
    std::vector<routing_sink *> sinks_;
};

// A sink of its own life that hands everything to `target`, for a capture session that wants to own its sinks.
std::unique_ptr<routing_sink> forward_to(routing_sink & target);

}  // namespace moescope
