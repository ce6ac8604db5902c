#pragma once

// The file that a profile keeps its exact sums in; docs/profile.md gives its bytes.

#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "core/routing.hpp"
#include "stats/corpus_selection.hpp"
#include "stats/saliency.hpp"

namespace moescope::stats {

// Which corpus was read, and how much of it. A merged profile has one entry per part.
struct corpus_part {
    std::string           name;  // file name without folder
    uint64_t              bytes = 0;
    uint64_t              hash  = 0;      // XXH3-64 of the file
    corpus_selection      selection;      // what was taken of it
    uint64_t              samples   = 0;  // that are in the sums
    uint64_t              tokens    = 0;
    uint64_t              truncated = 0;                  // samples cut to the context
    uint64_t              empty = 0, malformed = 0;       // samples and lines skipped
    std::vector<uint64_t> failed;                         // line numbers of samples that failed to decode
    uint64_t              next_unit = 0, next_group = 0;  // where a resume goes on
    bool                  complete = false;               // nothing is left to do
};

// What changes rounding alone: which samples were computed together. Kept, and compared by resume, not by merge.
struct numerics {
    uint32_t n_ubatch = 0;  // tokens
    uint32_t n_seq    = 0;  // samples that may share a ubatch
    uint32_t unit     = 0;  // samples within which they are packed
};
bool operator==(const numerics & a, const numerics & b);
bool operator!=(const numerics & a, const numerics & b);

struct moestats {
    model_info model;
    uint64_t   model_fingerprint = 0;  // of the weights file, see docs/profile.md
    uint64_t   shape_fingerprint = 0;  // of its tensors' names and shapes; 0 in version 1
    gate_kind  gate              = gate_kind::final;
    // What else changes the sums, as name and value ("context", "last_layer", "layers", "lora"): merge compares them.
    std::vector<std::pair<std::string, std::string>> options;
    numerics                                         how_computed;
    std::vector<std::string>                         labels;
    std::vector<corpus_part>                         corpora;
    std::vector<saliency_block>                      blocks;

    uint64_t samples() const;
    uint64_t tokens() const;
    bool     complete() const;

    // The blocks of the routed experts: block 0 of each layer (GroveMoE's adjugate experts are its block 1).
    std::vector<const saliency_block *> routed() const;
};

// Whether a file begins as a .moestats does; false where it cannot be read.
bool is_moestats(const std::string & path);

// Throws error naming the file (and byte) when it is missing, no .moestats, of a newer version, cut or damaged.
moestats read_moestats(const std::string & path);

// The same from bytes in memory; `name` is for messages.
moestats decode_moestats(const std::string & bytes, const std::string & name);

// The file's bytes. The same profile always gives the same bytes.
std::string encode_moestats(const moestats & s);

}  // namespace moescope::stats
