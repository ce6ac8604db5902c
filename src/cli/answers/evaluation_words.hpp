#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "evaluate/evaluation.hpp"

namespace moescope::cli {

// The damage of every plan, over the whole text and by label.
class plan_results {
public:
    explicit plan_results(const evaluate::evaluation & e);

    const evaluate::damage & of(size_t plan) const { return all_[plan]; }
    const evaluate::damage & of_label(size_t plan, size_t label) const { return by_label_[plan][label]; }
    size_t                   worst_label(size_t plan) const;             // with the largest KL
    uint64_t                 samples() const { return samples_; }        // with predictions
    std::vector<size_t>      by_damage(evaluate::plan_kind kind) const;  // plans of a kind, the largest KL first

private:
    const evaluate::evaluation &               evaluation_;
    std::vector<evaluate::damage>              all_;
    std::vector<std::vector<evaluate::damage>> by_label_;  // [plans][labels]
    uint64_t                                   samples_ = 0;
};

std::vector<std::string> evaluation_headline(const evaluate::evaluation & e, const plan_results & results);
std::vector<std::string> evaluation_notes(const evaluate::evaluation & e, const plan_results & results);

}  // namespace moescope::cli
