#pragma once

// The vocabulary of a capture: what the probes produce, a trace stores, and every analysis reads.
// All views are valid only during the call that hands them out, unless the giver says otherwise. Traps are those of
// docs/capture.md.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/block_id.hpp"
#include "core/column_set.hpp"
#include "core/memory_event.hpp"
#include "core/span.hpp"

namespace moescope {

// The model a stream runs. Unknown numbers are 0, unknown texts empty; nothing here is guessed.
struct model_info {
    std::string architecture;       // GGUF general.architecture, e.g. "qwen3moe"
    std::string name;               // GGUF general.name
    std::string file;               // path of the (first) GGUF file
    uint64_t    file_size     = 0;  // bytes, of that file
    uint32_t    n_layer       = 0;  // without MTP blocks
    uint32_t    n_expert      = 0;  // routed experts per layer, the largest over the layers
    uint32_t    n_expert_used = 0;  // top-k, the largest over the layers
    uint32_t    n_embd        = 0;
    uint32_t    n_vocab       = 0;
    std::vector<std::pair<std::string, std::string>> metadata;  // the GGUF keys that speak of experts, as text
};

// One MoE block of a graph, as its rows are stored. docs/capture.md lists the traps.
struct block_layout : block_id {
    enum flag : uint32_t {
        mtp         = 1u << 0,  // belongs to a multi-token-prediction block (il >= n_layer), trap 11
        ids_repeat  = 1u << 1,  // a row's ids need not be distinct (GroveMoE's second block)
        norms_gated = 1u << 2,  // norms already contain the gate weight (Llama 4), trap 5
        given_ids   = 1u << 3,  // ids come from a table, not from scores (hash routing), trap 9
        // How gates form, where the runner-up is recorded: their numbers before normalisation are a softmax over all
        // experts; or what is selected goes through a softmax of its own.
        softmax_of_all      = 1u << 4,
        softmax_of_selected = 1u << 5,
        bent_output         = 1u << 6,  // a norm lies between the experts' sum and the residual stream
    };

    uint32_t   n_expert      = 0;
    uint32_t   n_expert_used = 0;  // k
    uint32_t   n_embd        = 0;  // width of the gate input
    uint32_t   flags         = 0;
    column_set columns       = {};  // what is stored of each row; always holds ids
    float      weight_sum    = 0;   // what a row's final weights add up to where normalised, else 0

    bool has(flag f) const { return (flags & f) != 0; }
    // Vectors whose dot products are in the column `gram`.
    uint32_t n_gram() const { return n_expert_used + (columns.has(column::runner_up) ? 3u : 2u); }
    // Values per row of a column: k, n_expert, n_embd, …
    uint32_t width(column column) const {
        switch (column) {
            case column::logits:
            case column::probs:
            case column::selection: return n_expert;
            case column::gate_input: return n_embd;
            case column::gram: return n_gram() * n_gram();
            case column::runner_up: return 2;
            default: return n_expert_used;
        }
    }
    // Bytes of one stored id: the narrowest of 1, 2, 4 that holds n_expert - 1.
    uint32_t id_bytes() const { return n_expert <= 0x100 ? 1 : n_expert <= 0x10000 ? 2 : 4; }

    bool operator==(const block_layout & o) const {
        return id() == o.id() && n_expert == o.n_expert && n_expert_used == o.n_expert_used && n_embd == o.n_embd &&
               flags == o.flags && columns == o.columns && weight_sum == o.weight_sum;
    }
    bool operator!=(const block_layout & o) const { return !(*this == o); }
};

// The MoE blocks of one graph, in execution order.
using graph_layout = std::vector<block_layout>;

// The rows that one MoE block routed in one ubatch. Everything is row-major and contiguous.
struct block_rows {
    const block_layout * layout = nullptr;
    uint32_t             n_rows = 0;
    span<const int32_t>  row_token;  // [n_rows] index into the ubatch's tokens, -1 unknown; empty: row i is token i
    const void *         ids                     = nullptr;  // [n_rows][k] of layout->id_bytes() each
    const float *        values[n_float_columns] = {};       // by position in float_columns; null where absent

    // [n_rows][width] of a column, or null where it was not captured.
    const float * values_of(column c) const {
        const size_t i = column_index(c);
        return i < n_float_columns ? values[i] : nullptr;
    }
    uint32_t id(size_t i) const {  // i = row * k + rank
        switch (layout->id_bytes()) {
            case 1: return static_cast<const uint8_t *>(ids)[i];
            case 2: return static_cast<const uint16_t *>(ids)[i];
            default: return static_cast<const uint32_t *>(ids)[i];
        }
    }
    // Calls f(pointer to n_rows * k ids of their stored width): for loops that must be fast.
    template <class F>
    void visit_ids(F && f) const {
        switch (layout->id_bytes()) {
            case 1: f(static_cast<const uint8_t *>(ids)); break;
            case 2: f(static_cast<const uint16_t *>(ids)); break;
            default: f(static_cast<const uint32_t *>(ids)); break;
        }
    }
    // The ubatch's token that row r belongs to, or -1.
    int32_t token_of(uint32_t r) const { return row_token.empty() ? static_cast<int32_t>(r) : row_token[r]; }
};

// How a token came to be computed. decode: it was generated, so it does not begin its sequence, and its batch holds no other
// token of it but drafts that are verified with it (a program's own knowledge, where there is any, overrides this).
enum class phase : uint8_t { prefill = 0, decode = 1 };

// One ubatch that the model computed, with the rows of every recorded MoE block.
struct routed_ubatch {
    uint64_t               time_ns = 0;  // monotonic, since the trace began
    uint32_t               batch   = 0;  // which llama_decode/llama_encode call of the stream, from 0
    uint32_t               access  = 0;  // 1 + index of the access list of its graph, 0: none recorded
    span<const int32_t>    token;        // [n_tokens] token id, -1 unknown (embedding batches)
    span<const int32_t>    pos;          // [n_tokens] position in the sequence, -1 unknown
    span<const int32_t>    seq;          // [n_tokens] sequence id (the first, where a token has several), -1 unknown
    span<const uint8_t>    phases;       // [n_tokens] of enum phase
    const graph_layout *   layout = nullptr;
    span<const block_rows> blocks;  // parallel to *layout
    // What the program did to its memory since the ubatch before.
    span<const memory_event> memory;

    uint32_t n_tokens() const { return static_cast<uint32_t>(token.size()); }
};

// One node of a graph that reads weights.
struct access_entry {
    std::string              op;          // ggml's name, e.g. "MUL_MAT_ID"
    std::string              dst;         // the node's name
    int32_t                  layer = -1;  // -1 outside the layers
    int32_t                  block = -1;  // index into the graph_layout whose ids choose the slices, -1: none
    std::vector<std::string> sources;     // the weight tensors read

    // Whether it reads the slices that ids choose. Without a block these are not known: ids that no recorded block has.
    bool by_id() const { return op == "MUL_MAT_ID" || op == "ADD_ID"; }

    bool operator==(const access_entry & o) const {
        return op == o.op && dst == o.dst && layer == o.layer && block == o.block && sources == o.sources;
    }
};
using access_list = std::vector<access_entry>;

// Where captured routing goes: a trace, a live counter, an accumulator. Calls come from one thread at a time.
class routing_sink {
public:
    virtual ~routing_sink() = default;
    virtual void     model(const model_info &) {}                               // once, first
    virtual void     piece(int32_t /*token*/, const std::string & /*text*/) {}  // before the token's first ubatch
    virtual uint32_t access(const access_list &) { return 0; }  // returns the number to put into routed_ubatch::access
    virtual void     ubatch(const routed_ubatch &) = 0;
    virtual void     memory(const memory_event &) {}  // at once; routed_ubatch::memory has it again
    virtual void     note(const std::string &) {}     // something the reader of the results must know
};

}  // namespace moescope
