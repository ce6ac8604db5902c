#pragma once

// The contract with the page: everything it shows, as plain values. page_bundle.cpp writes them under the same names;
// web/src/contract.ts declares them on the other side. Change the three together.
//
// A *cell* is one expert of one MoE block. Cells are numbered through all blocks of a run: block b's experts are
// cells [blocks[b].first_cell, + blocks[b].n_expert).

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "analysis/tools/balance.hpp"
#include "core/routing.hpp"
#include "trace/source.hpp"

namespace moescope::report {

struct page_block {
    block_layout      layout;
    uint32_t          first_cell   = 0;
    uint64_t          rows         = 0;
    uint64_t          rows_decoded = 0;
    analysis::balance balance;
};

// What is known per cell. Vectors have one entry per cell, or are empty where the run did not capture what they need.
struct page_cells {
    std::vector<uint64_t> count;          // selections
    std::vector<uint64_t> count_decoded;  // of them, by decoded tokens
    std::vector<uint64_t> accesses;       // ubatches in which at least one row selected the expert
    std::vector<double>   weight_mean;    // mean gate weight over its selections; NaN: never selected
    std::vector<double>   ean;            // mean norm of its output; NaN: never selected
    std::vector<double>   reap;           // mean of weight times norm (arXiv:2510.13999, Eq. 9); NaN: never selected
};

// Selections of pairs in one row: the upper triangle without diagonal, (0,1), (0,2), …, (1,2), …, of each block.
struct page_pairs {
    std::vector<std::vector<uint64_t>> count;            // parallel to the blocks; empty: not kept
    bool                               complete = true;  // false: too large for this page
};

// The rows of one label of `moescope run --label-key`.
struct page_domain {
    std::string           label;
    uint64_t              sequences = 0;
    std::vector<uint64_t> rows;   // parallel to the blocks
    std::vector<uint64_t> count;  // [cell] selections
};

// How well experts can be foreseen, and what that would hide of the time that layers wait for them, as analysis/prefetch.hpp
// has it. m: lists of the first k, 2k, 3k. NaN: nothing is foreseen there.
struct page_foresight {
    std::vector<std::string> lists;
    std::vector<double>      recall, recall_low, recall_high;  // [list][m] over all layers
    std::vector<int32_t>     layer;                            // of each MoE block
    std::vector<double>      layer_recall;                     // [block][list][m]
    double                   own = 0;  // recall of the routers on their own inputs; NaN: none looked
    // The simulation; empty where the trace is too long for a page. Times are in times of a layer.
    std::vector<std::string> prefetchers;
    std::vector<uint32_t>    slots;                    // per layer
    std::vector<double>      slice_times;              // of fetching a slice
    std::vector<double>      stall, fetched, in_vain;  // [slots][slice time][prefetcher] per token
    double                   slice_bytes   = 0;        // 0: no model
    double                   layer_seconds = 0;        // by the trace's clock; NaN: it has none

    bool empty() const { return lists.empty(); }
};

// What caches of expert slices would hold, as analysis/cache.hpp simulates them.
struct page_cache {
    std::string           asked;  // "decode", "prefill" or "all": the rows that were asked about; empty: not simulated
    uint64_t              of_tokens = 0;             // tokens of the trace when it was simulated
    uint64_t              tokens = 0, ubatches = 0;  // that were simulated
    uint64_t              accesses = 0, cold = 0;
    uint64_t              units               = 0;  // that the intervals are over
    bool                  units_are_sequences = false;
    uint32_t              n_expert            = 0;  // of the widest block
    std::vector<uint32_t> slots;                    // per layer
    std::vector<std::string> policies;
    // [2: slots in each layer, one pool of them all][slots][policy]; bytes are NaN without a model, rates without warm reads
    std::vector<double> hit_rate, hit_rate_low, hit_rate_high, bytes_per_token;
    page_foresight      foresight;     // of the same rows
    uint64_t            too_many = 0;  // accesses, where these are more than a page simulates; nothing else is set

    bool empty() const { return asked.empty() && too_many == 0; }
};

// A stretch of tokens in the order in which they ran.
struct token_tile {
    uint64_t              first = 0;        // number of the first one in the run
    std::vector<int32_t>  token, pos, seq;  // [n] as in routed_ubatch
    std::vector<uint8_t>  phase;            // [n]
    std::vector<uint32_t> ubatch;           // [n] number of the ubatch that computed it, from the tile's first on
    std::vector<double>   time_s;           // [ubatches in the tile] since the trace began

    struct rows {
        std::vector<uint8_t>  present;  // [n] 1 where the block has a row for the token; empty: everywhere
        std::vector<uint32_t> ids;      // [n][k]
        std::vector<float>    weights;  // [n][k], empty: not captured
    };
    std::vector<rows> blocks;  // parallel to the run's blocks

    // Texts of the token ids that occur, in order of id; absent ones are not known. Bytes as the tokenizer gives them.
    std::vector<std::pair<int32_t, std::string>> pieces;

    size_t size() const { return token.size(); }
};

// Prompts and what was generated after them, or the requests of a server, in the order in which they begin (trace/requests.hpp).
struct page_prompts {
    std::vector<uint64_t>    first;  // number in the run of its first token
    std::vector<int32_t>     sequence;
    std::vector<uint64_t>    prefilled, decoded;  // tokens
    std::vector<std::string> labels;              // empty where a prompt has none, and as a whole where none has

    bool empty() const { return first.empty(); }
};

struct page_run {
    std::string              label;       // how the page names this run
    uint32_t                 number = 0;  // by which a served page asks for more of it
    trace::trace_info        source;
    model_info               model;
    std::vector<page_block>  blocks;
    page_cells               cells;
    page_pairs               pairs;
    std::vector<page_domain> domains;  // empty: the trace has no labels
    page_cache               cache;    // empty: not simulated
    page_prompts             prompts;  // empty: a served page asks for them
    uint64_t                 tokens = 0, decoded = 0, ubatches = 0;
    std::vector<uint64_t>    access_uses;  // ubatches by routed_ubatch::access; not part of what the page reads
    token_tile               tile;         // the tokens that the page holds; a served page asks for more
    bool                     text = true;  // false: pieces were left out on request
};

// The model file from its first byte to its last.
struct page_memory {
    struct entry {
        uint32_t tensor    = 0;   // index into tensors
        int32_t  expert    = -1;  // -1: a whole tensor
        uint32_t file      = 0;
        uint64_t offset    = 0;  // from the start of its file
        uint64_t size      = 0;
        int32_t  layer     = -1;
        uint32_t component = 0;  // index into components
    };
    std::vector<std::pair<std::string, uint64_t>> files;           // base name, bytes
    std::vector<std::string>                      tensors, types;  // types: ggml's name of each tensor's type
    std::vector<std::string>                      components;
    std::vector<entry>                            entries;  // in file order
    // Of a model that `moescope reorder` wrote, by layer: [expert] its number in the first order.
    std::vector<std::pair<int32_t, std::vector<uint32_t>>> first_ids;
    // [run][entry] ubatches that read it, -1: not recorded
    std::vector<std::vector<int64_t>> accesses;
    uint64_t                          bytes_per_token = 0;  // at most, of one decoded token

    bool empty() const { return entries.empty(); }
};

// What `moescope evaluate` found: what it costs to leave experts out. Divergences in nats per token, shares of 1; NaN: unknown.
struct page_damage {
    struct cell {
        double kl = 0, kl_low = 0, kl_high = 0, delta_nll = 0, same_top = 0, displaced = 0;
    };
    // A plan, or (with layer and expert) one expert left out alone.
    struct row {
        std::string       name, criterion;  // criterion: empty where the plan has none
        int32_t           keep = -1, layer = -1, expert = -1;
        std::vector<cell> cells;  // of the whole text, then of each label
    };
    std::string              model, corpus;  // names of the files
    uint64_t                 samples = 0, tokens = 0;
    uint32_t                 n_expert = 0;  // of the widest layer
    std::vector<std::string> labels;
    std::vector<row>         rows;

    bool empty() const { return rows.empty(); }
};

struct page {
    std::string              generator;         // "moescope 0.1.0"
    bool                     served   = false;  // more can be asked for
    bool                     live     = false;  // the traces may still grow
    uint64_t                 progress = 0;      // of a served page: grows with what is behind it
    std::vector<page_run>    runs;
    page_memory              memory;
    page_damage              damage;
    std::vector<std::string> notes;  // what the reader must know, e.g. what was left out
};

}  // namespace moescope::report
