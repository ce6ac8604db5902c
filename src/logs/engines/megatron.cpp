// Megatron's router trace, router_trace_rank*.jsonl: one line per step and layer,
//
//     {"step":0,"stage":"pre_dispatch","block":"decoder","layer":3,"rank":0,"num_tokens":2,"topk":2,"top_indices":[[1,7],[0,4]]}

#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "logs/engines/built_source.hpp"
#include "logs/engines/engines.hpp"
#include "logs/engines/json_lines.hpp"

namespace moescope::logs {

namespace {

using nlohmann::json;

// What is taken of a line. Layers of MTP blocks have numbers of their own and are told apart by `mtp`.
struct trace_line {
    int64_t                            step  = 0;
    int32_t                            layer = 0;
    bool                               mtp   = false;
    std::vector<std::vector<uint32_t>> ids;
};

class megatron_source final : public built_source {
public:
    explicit megatron_source(const std::string & path) : built_source(path, "megatron"), lines_(path) {
        for (trace_line l; next_line(l);) {
            survey(l);
        }
        if (shapes_.empty()) {
            throw error("no line of the router trace has top_indices").in(path);
        }
        graph_layout all;
        for (const auto & [name, k] : shapes_) {
            all.push_back(block_of(name.second, name.first, k));
        }
        set_blocks(std::move(all));
        note("Megatron sorts the ids of a row: their order says nothing of their rank, and there are no weights");
        note("the file does not say how many experts there are: taken as the largest id + 1");
        note("Megatron does not say which tokens were routed, nor where they stand; steps count as batches");
        if (n_uneven_ > 0) {
            note(std::to_string(n_uneven_) +
                 " rows have fewer or more ids than the first of their layer, and are left out");
        }
        megatron_source::rewind();
    }

    void rewind() override {
        built_source::rewind();
        lines_.rewind();
        has_pending_ = false;
    }

protected:
    // A step's lines up to the layer that comes again.
    bool build(uint64_t, ubatch_buffer & to) override {
        std::vector<trace_line> group;
        while (has_pending_ || next_line(pending_)) {
            has_pending_      = true;
            const bool begins = !group.empty() && (group.front().step != pending_.step ||
                                                   std::any_of(group.begin(), group.end(), [&](const trace_line & l) {
                                                       return l.layer == pending_.layer && l.mtp == pending_.mtp;
                                                   }));
            if (begins) {
                break;
            }
            group.push_back(std::move(pending_));
            pending_     = {};
            has_pending_ = false;
        }
        size_t n_tokens = 0;
        for (const trace_line & l : group) {
            n_tokens = std::max(n_tokens, l.ids.size());
        }
        if (group.empty()) {
            return false;
        }
        to.set_tokens(n_tokens);
        to.phases.assign(n_tokens, static_cast<uint8_t>(phase::prefill));
        to.batch = static_cast<uint32_t>(group.front().step);
        for (const trace_line & l : group) {
            add_rows(l, n_tokens, to);
        }
        return true;
    }

private:
    bool next_line(trace_line & l) {
        for (json line; lines_.next(line);) {
            if (!line.is_object() || !line.contains("top_indices")) {
                continue;  // a stage without ids
            }
            try {
                l.step  = line.value("step", int64_t{0});
                l.mtp   = line.value("block", std::string("decoder")) == "mtp";
                l.layer = l.mtp && line.contains("mtp_idx") ? line["mtp_idx"].get<int32_t>()
                                                            : line.at("layer").get<int32_t>();
                l.ids   = line["top_indices"].get<std::vector<std::vector<uint32_t>>>();
            } catch (const json::exception &) {
                throw error("a line whose top_indices make no sense").in(info().path);
            }
            return true;
        }
        return false;
    }

    void survey(const trace_line & l) {
        for (const std::vector<uint32_t> & row : l.ids) {
            if (row.empty()) {
                continue;
            }
            const auto [it, is_new] = shapes_.try_emplace({l.mtp, l.layer}, static_cast<uint32_t>(row.size()));
            n_uneven_ += row.size() != it->second;
            for (const uint32_t id : row) {
                if (id >= most_experts) {
                    throw error("expert " + std::to_string(id) + " of layer " + std::to_string(l.layer) + " cannot be")
                        .in(info().path);
                }
                n_expert_ = std::max(n_expert_, id + 1);
            }
        }
        last_decoder_ = l.mtp ? last_decoder_ : std::max(last_decoder_, l.layer);
    }

    // MTP blocks follow the decoder's layers.
    block_layout block_of(int32_t layer, bool mtp, uint32_t k) const {
        block_layout b;
        b.layer         = mtp ? last_decoder_ + 1 + layer : layer;
        b.n_expert      = n_expert_;
        b.n_expert_used = k;
        b.columns       = column::ids;
        b.flags         = mtp ? block_layout::mtp : 0u;
        return b;
    }

    void add_rows(const trace_line & l, size_t n_tokens, ubatch_buffer & to) const {
        const auto shape = shapes_.find({l.mtp, l.layer});
        if (shape == shapes_.end()) {
            return;
        }
        std::vector<int32_t> rows;
        for (size_t r = 0; r < l.ids.size(); ++r) {
            if (l.ids[r].size() == shape->second) {
                rows.push_back(static_cast<int32_t>(r));
            }
        }
        if (rows.empty()) {
            return;
        }
        to.layout.push_back(block_of(l.layer, l.mtp, shape->second));
        to.add_block(static_cast<uint32_t>(rows.size()), rows.size() != n_tokens);
        if (rows.size() != n_tokens) {
            std::copy(rows.begin(), rows.end(), to.row_tokens());
        }
        size_t i = 0;
        for (const int32_t r : rows) {
            for (const uint32_t id : l.ids[static_cast<size_t>(r)]) {
                to.set_id(i++, id);
            }
        }
    }

    json_lines                                   lines_;
    std::map<std::pair<bool, int32_t>, uint32_t> shapes_;  // (mtp, layer) -> k
    uint32_t                                     n_expert_     = 0;
    int32_t                                      last_decoder_ = -1;
    uint64_t                                     n_uneven_     = 0;
    trace_line                                   pending_;  // the first line of the next group
    bool                                         has_pending_ = false;
};

}  // namespace

std::unique_ptr<trace::trace_source> open_megatron(const std::string & path) {
    return std::make_unique<megatron_source>(path);
}

std::unique_ptr<trace::trace_source> open_json(const std::string & path) {
    json first;
    json_lines(path).next(first);
    if (first.is_object() && (first.contains("choices") || first.contains("prompt_routed_experts"))) {
        return open_vllm_responses(path);
    }
    if (first.is_object() && first.contains("stage") && first.contains("layer")) {
        return open_megatron(path);
    }
    return nullptr;
}

}  // namespace moescope::logs
