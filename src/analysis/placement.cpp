#include "analysis/placement.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "analysis/tools/bootstrap.hpp"
#include "analysis/tools/interval_units.hpp"
#include "analysis/tools/slices.hpp"
#include "analysis/tools/sum.hpp"
#include "core/error.hpp"
#include "gguf/expert_tensor.hpp"
#include "gguf/model_file.hpp"
#include "gguf/moe_shape.hpp"

namespace moescope::analysis {

namespace {

constexpr uint64_t n_ubatch     = 512;   // llama.cpp's default
constexpr uint64_t widths       = 16;    // of n_embd that live at once in a graph: a generous count
constexpr double   worth_saying = 0.01;  // savings below are not worth an option

uint64_t kv_bytes(const gguf::model_metadata & meta, const gguf::moe_shape & shape, uint32_t n_ctx) {
    const auto     key   = [&](const char * name) { return shape.arch + ".attention." + name; };
    const uint64_t embd  = meta.get_uint(shape.arch + ".embedding_length").value_or(0);
    const auto     heads = meta.get_uints(key("head_count"));
    const auto     kv    = meta.get_uints(key("head_count_kv"));
    const auto     of    = [](const std::vector<uint64_t> & v, size_t il, uint64_t fallback) {
        return v.empty() ? fallback : v[std::min(il, v.size() - 1)];
    };
    uint64_t bytes = 0;
    for (uint32_t il = 0; il < shape.n_layer; ++il) {
        const uint64_t n_head = std::max<uint64_t>(1, of(heads, il, 1));
        const uint64_t k      = meta.get_uint(key("key_length")).value_or(embd / n_head);
        const uint64_t v      = meta.get_uint(key("value_length")).value_or(embd / n_head);
        bytes += uint64_t{n_ctx} * of(kv, il, n_head) * (k + v) * 2;
    }
    return bytes;
}

// Bytes of experts that a token makes the CPU read, and the same per stretch for the interval.
std::vector<double> cpu_bytes(const model_memory & m, const expert_reads & reads, const std::set<int32_t> & on_cpu) {
    std::vector<double>         bytes(reads.tokens().size());
    std::map<int32_t, uint64_t> blocks;  // of a layer: they share its bytes by their experts
    for (size_t b = 0; b < reads.layers().size(); ++b) {
        blocks[reads.layers()[b].layout.layer] += reads.layers()[b].layout.n_expert;
    }
    for (size_t b = 0; b < reads.layers().size(); ++b) {
        const auto & l = reads.layers()[b];
        const auto   layer =
            std::find_if(m.layers.begin(), m.layers.end(), [&](auto & x) { return x.il == l.layout.layer; });
        if (layer == m.layers.end()) {
            throw error("layer " + std::to_string(l.layout.layer) + " of the trace has no experts in the model")
                .fix("give the model that the trace was recorded with");
        }
        const double slice = double(layer->bytes) / double(blocks[l.layout.layer]);
        for (size_t s = 0; on_cpu.count(layer->il) != 0 && s < l.reads.size(); ++s) {
            bytes[s] += l.reads[s] * slice;
        }
    }
    return bytes;
}

placement place(const model_memory & m, const expert_reads & reads, const std::set<int32_t> & on_cpu) {
    placement p;
    for (const model_memory::layer & l : m.layers) {
        const bool cpu = on_cpu.count(l.il) != 0;
        (cpu ? p.on_cpu : p.on_gpu).push_back(l.il);
        p.gpu_bytes += cpu ? 0 : l.bytes;
    }
    p.cpu_bytes_per_token = sum(cpu_bytes(m, reads, on_cpu)) / sum(reads.tokens());
    return p;
}

// llama.cpp's --n-cpu-moe N: the experts of layers 0 to N − 1 stay on the CPU.
std::set<int32_t> naive_choice(const model_memory & m, uint64_t budget, uint32_t & n) {
    uint64_t on_gpu = 0;
    for (const model_memory::layer & l : m.layers) {
        on_gpu += l.bytes;
    }
    std::set<int32_t> on_cpu;
    n = 0;
    for (const model_memory::layer & l : m.layers) {
        if (on_gpu <= budget) {
            break;
        }
        on_gpu -= l.bytes;
        on_cpu.insert(l.il);
        n = static_cast<uint32_t>(l.il) + 1;
    }
    return on_cpu;
}

// Takes the layers that save the most reading per byte of GPU memory, as long as they fit.
std::set<int32_t> best_choice(const model_memory & m, const expert_reads & reads, uint64_t budget) {
    std::set<int32_t>                      on_cpu;
    std::vector<std::pair<double, size_t>> value;
    for (size_t i = 0; i < m.layers.size(); ++i) {
        on_cpu.insert(m.layers[i].il);
        value.emplace_back(sum(cpu_bytes(m, reads, {m.layers[i].il})) / double(m.layers[i].bytes), i);
    }
    // Of equal ones the last layers, as --n-cpu-moe does.
    std::stable_sort(value.begin(), value.end(),
                     [](auto & a, auto & b) { return a.first != b.first ? a.first > b.first : a.second > b.second; });
    uint64_t used = 0;
    for (const auto & [v, i] : value) {
        if (used + m.layers[i].bytes <= budget) {
            used += m.layers[i].bytes;
            on_cpu.erase(m.layers[i].il);
        }
    }
    return on_cpu;
}

}  // namespace

model_memory read_model_memory(const std::string & model_path, uint32_t n_ctx) {
    const gguf::model_file                 model(model_path);
    const gguf::moe_shape                  shape = gguf::read_moe_shape(model.metadata());
    std::map<int32_t, model_memory::layer> layers;
    model_memory                           m;
    uint64_t                               n_vocab = 0;
    for (const gguf::model_file::tensor & t : model.tensors()) {
        const gguf::tensor_name   name   = gguf::parse_tensor_name(t.name);
        const gguf::expert_layout layout = gguf::find_expert_layout(t, name, shape);
        if (layout.part == gguf::expert_part::matrix || layout.part == gguf::expert_part::chunk_matrix) {
            model_memory::layer & l = layers[name.layer];
            l.il                    = name.layer;
            l.bytes += t.size;
            l.n_slab = std::max(l.n_slab, static_cast<uint32_t>(layout.n_slab));
        } else if (name.base == "token_embd") {
            n_vocab = static_cast<uint64_t>(t.ne[1]);
            m.dense += model.find("output.weight") == nullptr ? t.size : 0;  // tied: a copy serves as the output
        } else {
            m.dense += t.size;
        }
    }
    if (layers.empty()) {
        throw error("this model has no experts").in(model_path);
    }
    for (const auto & [il, l] : layers) {
        m.layers.push_back(l);
    }
    const uint64_t n_embd = model.metadata().get_uint(shape.arch + ".embedding_length").value_or(0);
    m.kv                  = kv_bytes(model.metadata(), shape, n_ctx);
    m.compute             = n_ubatch * (n_vocab + widths * n_embd) * 4;
    return m;
}

void expert_reads::ubatch(const routed_ubatch & u) {
    uint32_t n_rows = 0;
    for (const block_rows & rows : u.blocks) {
        n_rows = std::max(n_rows, rows.n_rows);
    }
    if (n_rows == 0) {
        return;
    }
    const size_t s = ubatches_ / interval_units::stretch;
    tokens_.resize(s + 1);
    tokens_[s] += n_rows;
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        const block_rows & rows = u.blocks[i];
        layer_reads &      l    = layers_.at(*rows.layout, i);
        slices_read(rows, ids_);
        l.reads.resize(s + 1);
        l.reads[s] += double(ids_.size());
    }
    ubatches_ += 1;
}

placement_result advise_placement(const model_memory & m, const expert_reads & reads, uint64_t vram) {
    placement_result r;
    const uint64_t   other = m.dense + m.kv + m.compute;
    uint64_t         all   = 0;
    for (const model_memory::layer & l : m.layers) {
        all += l.bytes;
    }
    r.budget                       = vram > other ? vram - other : 0;
    const std::set<int32_t> naive  = naive_choice(m, r.budget, r.n_cpu_moe);
    const std::set<int32_t> best   = best_choice(m, reads, r.budget);
    r.naive                        = place(m, reads, naive);
    r.advised                      = place(m, reads, best);
    r.all_fits                     = all <= r.budget;
    r.nothing_fits                 = r.advised.on_gpu.empty();
    const std::vector<double> cost = cpu_bytes(m, reads, naive), advised = cpu_bytes(m, reads, best);
    std::vector<double>       gain;
    for (size_t s = 0; s < cost.size(); ++s) {
        gain.push_back(cost[s] - advised[s]);
    }
    r.saving          = sum(cost) > 0 ? sum(gain) / sum(cost) : 0;
    r.saving_interval = bootstrap_ratio(gain, cost);
    r.preferred       = r.saving >= worth_saying && r.saving_interval.low > 0;
    return r;
}

}  // namespace moescope::analysis
