#include "analysis/prefetch_study.hpp"

#include <algorithm>

#include "gguf/model_file.hpp"
#include "gguf/router_weights.hpp"

namespace moescope::analysis {

namespace {

// Visits of ubatches to layers, and how long they took.
class visit_clock final : public routing_sink {
public:
    void ubatch(const routed_ubatch & u) override {
        uint64_t here = 0;
        for (const block_rows & rows : u.blocks) {
            here += rows.n_rows > 0;
        }
        if (before_ > 0 && u.time_ns > time_ns_) {
            seconds_.push_back(1e-9f * static_cast<float>(u.time_ns - time_ns_) / static_cast<float>(before_));
        }
        before_  = here;
        time_ns_ = u.time_ns;
        n_ += here;
    }
    uint64_t visits() const { return n_; }
    double   median() {
          if (seconds_.empty()) {
              return unknown;
        }
          const auto middle = seconds_.begin() + static_cast<long>(seconds_.size() / 2);
          std::nth_element(seconds_.begin(), middle, seconds_.end());
          return double(*middle);
    }

private:
    uint64_t           n_ = 0, before_ = 0, time_ns_ = 0;
    std::vector<float> seconds_;  // per layer, of each ubatch but the last
};

}  // namespace

foreseen_router read_router_for(const trace::trace_source & source, const std::string & model) {
    const graph_layout blocks = source.blocks();
    const bool         inputs = std::any_of(blocks.begin(), blocks.end(),
                                            [](const block_layout & b) { return b.columns.has(column::gate_input); });
    if (model.empty() || !inputs) {
        return {};
    }
    const gguf::model_file file(model);
    auto                   routers = gguf::read_routers(file);
    return routers.empty() ? foreseen_router()
                           : foreseen_router(std::move(routers), gguf::read_moe_shape(file.metadata()));
}

prefetch_study::prefetch_study(trace::trace_source & source, foreseen_router & router, row_choice rows,
                               bool prefer_decode, const trace::read_progress & progress)
    : caches_(source, std::move(rows), prefer_decode, progress),
      router_(router),
      lessons_(std::make_unique<foresight_lessons>(caches_.counts().half_at(), router)) {
    visit_clock clock;
    if (!caches_.empty() && caches_.read({lessons_.get(), &clock})) {
        lessons_->finish();
        visits_        = clock.visits();
        layer_seconds_ = clock.median();
    }
}

std::optional<prefetch_result> prefetch_study::simulate(const prefetch_plan & plan) {
    prefetch p(plan, caches_.counts(), *lessons_, router_);
    if (!caches_.read({&p})) {
        return std::nullopt;
    }
    return p.result();
}

}  // namespace moescope::analysis
