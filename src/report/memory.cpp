#include "report/memory.hpp"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "core/error.hpp"
#include "gguf/memory_map.hpp"
#include "gguf/model_file.hpp"
#include "io/path.hpp"

namespace moescope::report {

namespace {

// Which block of a layer chooses a tensor's slices: the one that the recorded graphs say, else by the number of slices.
class slice_blocks {
public:
    slice_blocks(const page_memory & memory, const page_run & run, const std::vector<access_list> & lists) : run_(run) {
        for (const auto & e : memory.entries) {
            if (e.expert >= 0) {
                n_slices_[e.tensor] = std::max(n_slices_[e.tensor], static_cast<uint32_t>(e.expert) + 1);
            }
        }
        for (size_t i = 0; i < lists.size(); ++i) {
            for (const access_entry & a : lists[i]) {
                for (const std::string & source : a.sources) {
                    const bool used = i + 1 < run.access_uses.size();
                    whole_reads_[source] += used && a.block < 0 && !a.by_id() ? run.access_uses[i + 1] : 0;
                }
            }
        }
        recorded_ = !lists.empty();
    }

    const page_block * find(const page_memory::entry & e) const {
        for (const page_block & b : run_.blocks) {
            if (b.layout.layer == e.layer && b.layout.n_expert == n_slices_.at(e.tensor)) {
                return &b;
            }
        }
        return nullptr;
    }

    int64_t whole_reads(const std::string & tensor) const {
        const auto it = whole_reads_.find(tensor);
        return !recorded_ ? -1 : it == whole_reads_.end() ? 0 : static_cast<int64_t>(it->second);
    }

private:
    const page_run &                          run_;
    std::map<uint32_t, uint32_t>              n_slices_;     // tensor -> number of its slices
    std::unordered_map<std::string, uint64_t> whole_reads_;  // tensor -> ubatches
    bool                                      recorded_ = false;
};

}  // namespace

page_memory read_memory(const std::string & model_path) {
    const gguf::model_file model(model_path);
    const gguf::memory_map map = gguf::build_memory_map(model);
    page_memory            m;
    for (const auto & p : model.parts()) {
        m.files.emplace_back(io::base_name(p.file.path()), p.file.size());
    }
    for (const auto & t : model.tensors()) {
        m.tensors.push_back(t.name);
        m.types.push_back(ggml_type_name(t.type));
    }
    std::map<std::string, uint32_t> components;
    for (const gguf::map_entry & e : map.entries) {
        const auto & t = model.tensors()[e.tensor];
        // The component without the expert's number, so that a filter has one item per kind.
        std::string component = e.component;
        if (e.expert_id >= 0 && !component.empty()) {
            component = component.substr(0, component.find_last_of(' ')) + "s";
        }
        const auto [it, fresh] = components.emplace(component, static_cast<uint32_t>(m.components.size()));
        if (fresh) {
            m.components.push_back(component);
        }
        m.entries.push_back({static_cast<uint32_t>(e.tensor), e.expert_id, static_cast<uint32_t>(t.part),
                             model.parts()[t.part].header.data_begin + e.offset, e.size, e.layer, it->second});
    }
    for (uint32_t il = 0; il < map.shape.n_layer; ++il) {
        const auto ids = model.metadata().get_uints("moescope.reorder.order." + std::to_string(il));
        if (!ids.empty() && ids.size() == map.shape.n_expert) {
            m.first_ids.emplace_back(static_cast<int32_t>(il), std::vector<uint32_t>(ids.begin(), ids.end()));
        }
    }
    m.bytes_per_token = map.totals.bytes_per_token;
    return m;
}

void add_accesses(page_memory & memory, const page_run & run, const std::vector<access_list> & lists) {
    const slice_blocks   blocks(memory, run, lists);
    std::vector<int64_t> reads;
    bool                 any = false;
    for (const auto & e : memory.entries) {
        if (e.expert < 0) {
            reads.push_back(blocks.whole_reads(memory.tensors[e.tensor]));
            continue;
        }
        const page_block * b = blocks.find(e);
        any                  = any || b != nullptr;
        reads.push_back(
            b == nullptr || run.cells.accesses.empty()
                ? -1
                : static_cast<int64_t>(run.cells.accesses[b->first_cell + static_cast<uint32_t>(e.expert)]));
    }
    if (!any && !run.blocks.empty()) {
        throw error("the model has no expert tensors that match the layers and experts of " + run.label)
            .in(memory.files.front().first)
            .fix("give the model that the trace was recorded with");
    }
    memory.accesses.push_back(std::move(reads));
}

}  // namespace moescope::report
