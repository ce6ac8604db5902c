#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/routing.hpp"

namespace moescope {

// Hands captured routing to several sinks, in the order in which they were added. Every sink that keeps access lists
// numbers them in order of appearance, so all give the same number; one that keeps none gives 0.
class fan_out final : public routing_sink {
public:
    fan_out() = default;
    explicit fan_out(routing_sink & only) { add(only); }  // for callers that must own a sink

    void add(routing_sink & sink) { sinks_.push_back({&sink, nullptr}); }  // must outlive this one
    void add(std::unique_ptr<routing_sink> sink);
    bool empty() const { return sinks_.empty(); }

    void     model(const model_info & m) override;
    void     piece(int32_t token, const std::string & text) override;
    uint32_t access(const access_list & list) override;
    void     ubatch(const routed_ubatch & u) override;
    void     memory(const memory_event & e) override;
    void     note(const std::string & text) override;

    // Told of a sink that throws, which is dropped; the others go on. Without it, exceptions pass.
    std::function<void(const std::string & why)> on_failure;

private:
    struct target {
        routing_sink *                sink;
        std::unique_ptr<routing_sink> owned;  // null: somebody else's
    };
    template <class F>
    void for_each(F f);

    std::vector<target> sinks_;
};

}  // namespace moescope
