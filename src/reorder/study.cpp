#include "reorder/study.hpp"

#include "analysis/coactivation.hpp"
#include "analysis/tools/slices.hpp"
#include "reorder/expert_order.hpp"

namespace moescope::reorder {

namespace {

// Pairs within the rows of each half, and of both.
class pairs_of_halves final : public routing_sink {
public:
    explicit pairs_of_halves(uint64_t half_at) : half_at_(half_at) {}

    void ubatch(const routed_ubatch & u) override {
        if (analysis::selects_any(u)) {
            half_[ubatches_++ < half_at_ ? 0 : 1].ubatch(u);
            whole_.ubatch(u);
        }
    }
    expert_orders orders_of_half(size_t half, const gguf::moe_shape & shape) const {
        return orders(half_[half], shape);
    }
    expert_orders orders_of_whole(const gguf::moe_shape & shape) const { return orders(whole_, shape); }

private:
    static expert_orders orders(const analysis::pairs_within & counted, const gguf::moe_shape & shape) {
        expert_orders all;
        for (const analysis::pair_counts & p : counted.result()) {
            if (p.from.block == 0 && p.from.n_expert == shape.n_expert) {
                all[p.from.layer] = order_by_coactivation(p, interchangeable_places(shape));
            }
        }
        return all;
    }

    uint64_t               half_at_, ubatches_ = 0;
    analysis::pairs_within half_[2], whole_;
};

}  // namespace

order_study study_orders(const gguf::model_file & model, analysis::cache_study & study,
                         const std::vector<read_habit> & habits) {
    order_study           result;
    const gguf::moe_shape shape = gguf::read_moe_shape(model.metadata());
    pairs_of_halves       pairs(study.counts().half_at());
    if (!study.read({&pairs})) {
        return result;
    }
    result.orders              = pairs.orders_of_whole(shape);
    const judged_orders as_is  = {};
    const judged_orders others = {{pairs.orders_of_half(1, shape), pairs.orders_of_half(0, shape)}};
    const judged_orders whole  = {{result.orders, result.orders}};
    slab_reads          reads(model, study.counts(), habits, {as_is, others, whole});
    if (!study.read({&reads})) {
        return {};
    }
    result.tokens = reads.tokens();
    for (size_t h = 0; h < habits.size(); ++h) {
        result.before.push_back(reads.sums(h, 0));
        result.held_out.push_back(reads.sums(h, 1));
        result.after.push_back(reads.sums(h, 2));
    }
    return result;
}

}  // namespace moescope::reorder
