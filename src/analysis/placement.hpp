#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "analysis/tools/interval.hpp"
#include "core/block_table.hpp"
#include "core/routing.hpp"

namespace moescope::analysis {

// What a model needs of a GPU's memory besides its experts, in bytes. The last two are estimates, and upper ones for
// models with sliding windows, compressed or shared KV.
struct model_memory {
    struct layer {
        int32_t  il     = 0;
        uint64_t bytes  = 0;  // of all its experts' matrices
        uint32_t n_slab = 0;  // experts (of the largest matrix)
    };
    std::vector<layer> layers;       // with experts, by il; a layer moves as a whole, both blocks of GroveMoE included
    uint64_t           dense   = 0;  // everything else but the token embedding, which llama.cpp leaves on the CPU
    uint64_t           kv      = 0;  // f16 cache: Σ over layers of n_ctx · (key + value width) · 2
    uint64_t           compute = 0;  // activations of one ubatch of 512 tokens and its logits
};
model_memory read_model_memory(const std::string & model_path, uint32_t n_ctx);

// Experts that each layer reads per ubatch, over stretches of 64 ubatches.
class expert_reads final : public routing_sink {
public:
    void ubatch(const routed_ubatch & u) override;

    struct layer_reads {
        explicit layer_reads(const block_layout & l) : layout(l) {}
        block_layout        layout;
        std::vector<double> reads;  // [stretch] distinct experts read
    };
    const block_table<layer_reads> & layers() const { return layers_; }
    const std::vector<double> &      tokens() const { return tokens_; }  // [stretch]
    uint64_t                         ubatches() const { return ubatches_; }

private:
    block_table<layer_reads> layers_;
    std::vector<double>      tokens_;
    uint64_t                 ubatches_ = 0;
    std::vector<uint32_t>    ids_;
};

// Whose experts stay in the GPU's memory, and what is then read from the CPU's per token.
struct placement {
    std::vector<int32_t> on_gpu;  // layers, rising
    std::vector<int32_t> on_cpu;
    uint64_t             gpu_bytes           = 0;  // of experts
    double               cpu_bytes_per_token = unknown;
};

struct placement_result {
    uint64_t  budget   = 0;  // bytes left for experts
    bool      all_fits = false, nothing_fits = false;
    placement advised, naive;       // naive: --n-cpu-moe with the smallest N that fits
    uint32_t  n_cpu_moe = 0;        // that N
    double    saving    = unknown;  // 1 − advised / naive, in bytes per token
    interval  saving_interval;      // 95 %, over stretches
    bool      preferred = false;    // the trace supports the advice over the naive choice
};

// vram: bytes of the GPU. Layers of the trace that the model lacks, and the other way round, are an error.
placement_result advise_placement(const model_memory & m, const expert_reads & reads, uint64_t vram);

}  // namespace moescope::analysis
