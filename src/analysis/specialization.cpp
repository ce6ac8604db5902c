#include "analysis/specialization.hpp"

#include <algorithm>

#include "analysis/tools/distance.hpp"

namespace moescope::analysis {

namespace {

constexpr int32_t stretch = 64;  // positions

}  // namespace

double block_specialization::distance(size_t a, size_t b) const {
    return jensen_shannon(domains[a].count, domains[b].count);
}

double block_specialization::half_distance(size_t a, size_t b) const {
    return (jensen_shannon(domains[a].half[0], domains[b].half[0]) +
            jensen_shannon(domains[a].half[1], domains[b].half[1])) /
           2;
}

double block_specialization::split_half(size_t a) const {
    return jensen_shannon(domains[a].half[0], domains[a].half[1]);
}

size_t specialization::domain_number(const std::string & name) {
    const auto it = std::find(domains_.begin(), domains_.end(), name);
    if (it != domains_.end()) {
        return static_cast<size_t>(it - domains_.begin());
    }
    domains_.push_back(name);
    sequences_.push_back(0);
    return domains_.size() - 1;
}

void specialization::set_domain(const std::string & name) {
    domain_    = domain_number(name);
    by_labels_ = false;
    tracker_   = {};
    number_in_domain_.clear();
}

void specialization::set_labels(const std::vector<std::string> & labels) {
    tracker_ = {};
    number_in_domain_.clear();
    more_labels(labels);
}

void specialization::more_labels(const std::vector<std::string> & labels) {
    by_labels_ = true;
    labels_.clear();
    for (const std::string & label : labels) {
        labels_.push_back(label.empty() ? SIZE_MAX : domain_number(label));
    }
}

void specialization::ubatch(const routed_ubatch & u) {
    const std::vector<token_place> & places    = tracker_.follow(u);
    const auto                       domain_of = [&](int64_t sequence) {
        if (!by_labels_) {
            return domain_;
        }
        return sequence >= 0 && static_cast<size_t>(sequence) < labels_.size() ? labels_[static_cast<size_t>(sequence)]
                                                                                                     : SIZE_MAX;
    };
    for (uint64_t s = number_in_domain_.size(); s < tracker_.n_sequences(); ++s) {
        const size_t d = domain_of(static_cast<int64_t>(s));
        number_in_domain_.push_back(d == SIZE_MAX ? 0 : sequences_[d]++);
    }
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        const block_rows & rows = u.blocks[i];
        block &            b    = blocks_.at(*rows.layout, i);
        b.domains.resize(domains_.size());
        for (uint32_t r = 0; r < rows.n_rows; ++r) {
            const int32_t     t     = rows.token_of(r);
            const token_place place = place_of(places, t);
            const size_t      d     = domain_of(place.sequence);
            if (d == SIZE_MAX) {
                rows_without_domain_ += 1;
                continue;
            }
            const uint64_t number = place.sequence >= 0 ? number_in_domain_[static_cast<size_t>(place.sequence)] : 0;
            const int32_t  pos    = t >= 0 ? std::max(0, u.pos[static_cast<size_t>(t)]) : 0;
            count_row(b, d, rows, r, number % 2, static_cast<size_t>(pos / stretch) % 2);
        }
    }
}

void specialization::count_row(block & b, size_t domain, const block_rows & rows, uint32_t r, size_t sequence_half,
                               size_t stretch_half) {
    split_counts & c = b.domains[domain];
    if (c.by_sequence[0].empty()) {
        for (size_t h = 0; h < 2; ++h) {
            c.by_sequence[h].resize(b.layout.n_expert);
            c.by_stretch[h].resize(b.layout.n_expert);
        }
    }
    c.rows += 1;
    const size_t k = rows.layout->n_expert_used;
    for (size_t j = 0; j < k; ++j) {
        const uint32_t id = rows.id(r * k + j);
        if (id < b.layout.n_expert) {
            c.by_sequence[sequence_half][id] += 1;
            c.by_stretch[stretch_half][id] += 1;
        }
    }
}

specialization_result specialization::result() const {
    specialization_result result;
    result.domains             = domains_;
    result.sequences           = sequences_;
    result.rows_without_domain = rows_without_domain_;
    for (const block * b : blocks_.sorted()) {
        block_specialization s;
        s.layout = b->layout;
        for (size_t d = 0; d < domains_.size(); ++d) {
            domain_counts counts;
            counts.count.resize(b->layout.n_expert);
            counts.half[0] = counts.half[1] = counts.count;
            if (d < b->domains.size() && b->domains[d].rows > 0) {
                const split_counts & c = b->domains[d];
                counts.rows            = c.rows;
                counts.half            = sequences_[d] > 1 ? c.by_sequence : c.by_stretch;
                for (size_t e = 0; e < counts.count.size(); ++e) {
                    counts.count[e] = counts.half[0][e] + counts.half[1][e];
                }
            }
            s.domains.push_back(std::move(counts));
        }
        result.blocks.push_back(std::move(s));
    }
    return result;
}

}  // namespace moescope::analysis
