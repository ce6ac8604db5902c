#include "reorder/reads.hpp"

#include <algorithm>

#include "analysis/tools/slices.hpp"
#include "gguf/expert_tensor.hpp"

namespace moescope::reorder {

std::vector<uint32_t> places_of(const std::vector<int32_t> & order) {
    std::vector<uint32_t> places(order.size());
    for (size_t place = 0; place < order.size(); ++place) {
        places[static_cast<size_t>(order[place])] = static_cast<uint32_t>(place);
    }
    return places;
}

slab_reads::slab_reads(const gguf::model_file & model, const analysis::cache_counts & counted,
                       std::vector<read_habit> habits, std::vector<judged_orders> orders)
    : counted_(counted),
      habits_(std::move(habits)),
      orders_(std::move(orders)),
      sums_(habits_.size() * orders_.size()) {
    const gguf::moe_shape shape = gguf::read_moe_shape(model.metadata());
    for (const gguf::model_file::tensor & t : model.tensors()) {
        const gguf::tensor_name   name   = gguf::parse_tensor_name(t.name);
        const gguf::expert_layout layout = gguf::find_expert_layout(t, name, shape);
        if (layout.part == gguf::expert_part::matrix) {
            const uint64_t begin = model.parts()[t.part].header.data_begin + t.offset;
            layers_[name.layer].matrices.push_back({begin, t.size / static_cast<uint64_t>(layout.n_slab)});
        }
    }
    for (auto & [il, l] : layers_) {
        for (const judged_orders & o : orders_) {
            for (const expert_orders & half : o.half) {
                const auto it = half.find(il);
                l.place.push_back(it == half.end() ? std::vector<uint32_t>{} : places_of(it->second));
            }
        }
    }
}

void slab_reads::ubatch(const routed_ubatch & u) {
    if (!analysis::selects_any(u)) {
        return;
    }
    const size_t half   = ubatches_++ < counted_.half_at() ? 0 : 1;
    uint32_t     n_rows = 0;
    for (const block_rows & rows : u.blocks) {
        const auto it = layers_.find(rows.layout->layer);
        n_rows        = std::max(n_rows, rows.n_rows);
        if (rows.layout->block == 0 && it != layers_.end()) {
            analysis::slices_read(rows, ids_);
            add(it->second, half);
        }
    }
    tokens_ += n_rows;
}

void slab_reads::add(const layer & l, size_t half) {
    for (size_t o = 0; o < orders_.size(); ++o) {
        const std::vector<uint32_t> & place = l.place[o * 2 + half];
        places_                             = ids_;
        for (uint32_t & id : places_) {
            id = place.empty() ? id : place[id];
        }
        std::sort(places_.begin(), places_.end());
        for (size_t h = 0; h < habits_.size(); ++h) {
            for (const matrix & m : l.matrices) {
                read(m, habits_[h], sums_[h * orders_.size() + o]);
            }
        }
    }
}

// One matrix, at places_.
void slab_reads::read(const matrix & m, const read_habit & habit, read_sums & sums) const {
    uint64_t end = 0;
    for (size_t i = 0; i < places_.size(); ++i) {
        const uint64_t from    = (m.begin + places_[i] * m.slab) / habit.page * habit.page;
        const uint64_t to      = (m.begin + (places_[i] + 1) * m.slab + habit.page - 1) / habit.page * habit.page;
        const bool     goes_on = i > 0 && from <= end + habit.readahead;
        sums.reads += !goes_on;
        sums.bytes += to - (goes_on ? end : from);
        end = to;
    }
}

}  // namespace moescope::reorder
