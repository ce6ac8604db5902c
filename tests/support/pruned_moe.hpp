#pragma once

// A small model with every kind of tensor that llama.cpp gives an expert dimension, for the tests of pruning.

#include "gguf_builder.hpp"

#include "core/error.hpp"
#include "prune/plan.hpp"
#include "prune/writer.hpp"

#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <numeric>
#include <random>

#include "scratch_folder.hpp"

namespace moescope::test {

// n floats that say which tensor (tag) and which element they are: no slab equals another.
inline std::vector<uint8_t> tagged(int tag, int64_t n) {
    std::vector<float> values(static_cast<size_t>(n));
    for (size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(tag * 100000) + static_cast<float>(i);
    }
    const auto * p = reinterpret_cast<const uint8_t *>(values.data());
    return {p, p + values.size() * sizeof(float)};
}

struct moe_options {
    std::string arch     = "deepseek2";
    int         n_layer  = 2;
    int         n_nextn  = 0;
    int         n_expert = 8;
    int         n_used   = 2;
    int         groups = 0, groups_used = 0;
    int         per_chunk = 0;
    bool        hash      = false;
};

// Every kind of tensor that llama.cpp gives an expert dimension, and those that look like one and have none.
inline gguf_builder make_moe(const moe_options & o) {
    gguf_builder b;
    b.add_string("general.architecture", o.arch);
    b.add_string("tokenizer.ggml.nul", std::string("a\0b", 3));  // ggml's own copy of a key would cut this
    b.add_u32(o.arch + ".block_count", static_cast<uint32_t>(o.n_layer));
    b.add_u32(o.arch + ".nextn_predict_layers", static_cast<uint32_t>(o.n_nextn));
    b.add_u32(o.arch + ".expert_count", static_cast<uint32_t>(o.n_expert));
    b.add_u32(o.arch + ".expert_used_count", static_cast<uint32_t>(o.n_used));
    b.add_u32(o.arch + ".expert_group_count", static_cast<uint32_t>(o.groups));
    b.add_u32(o.arch + ".expert_group_used_count", static_cast<uint32_t>(o.groups_used));
    b.add_u32(o.arch + ".experts_per_group", static_cast<uint32_t>(o.per_chunk));
    int        tag = 0;
    const auto add = [&](const std::string & name, std::vector<int64_t> ne) {
        const int64_t n = std::accumulate(ne.begin(), ne.end(), int64_t(1), std::multiplies<>());
        b.add_tensor(name, GGML_TYPE_F32, ne, tagged(++tag, n));
    };
    const int64_t E = o.n_expert;
    add("token_embd.weight", {4, 5});
    for (int il = 0; il < o.n_layer; ++il) {
        const std::string blk = "blk." + std::to_string(il) + ".";
        add(blk + "attn_q_norm.weight", {E});
        add(blk + "attn_k_b.weight", {4, 3, E});  // as many heads as there are experts
        add(blk + "ffn_gate_inp.weight", {4, E});
        add(blk + "ffn_gate_inp.bias", {E});
        add(blk + "ffn_gate_inp.scale", {4});
        add(blk + "exp_probs_b.bias", {E});
        add(blk + "exp_probs_b_vl.bias", {E});
        add(blk + "ffn_norm_exps.weight", {4});
        for (const std::string kind : {"gate", "up", "down", "gate_up"}) {
            add(blk + "ffn_" + kind + "_exps.weight", {4, 3, E});
        }
        add(blk + "ffn_down_exps.bias", {3, E});
        add(blk + "ffn_down_exps.scale", {E});
        add(blk + "ffn_down_exps.input_scale", {E});
        add(blk + "ffn_down_shexp.weight", {4, 3});
        if (o.per_chunk > 0) {
            add(blk + "ffn_up_chexps.weight", {4, 3, E / o.per_chunk});
        }
        if (o.hash) {
            std::vector<int32_t> table;
            for (int token = 0; token < 40; ++token) {
                for (int j = 0; j < o.n_used; ++j) {
                    table.push_back((token + j * 3) % o.n_expert);
                }
            }
            const auto * p = reinterpret_cast<const uint8_t *>(table.data());
            b.add_tensor(blk + "ffn_gate_tid2eid.weight", GGML_TYPE_I32, {o.n_used, 40}, {p, p + table.size() * 4});
        }
    }
    return b;
}

inline prune::prune_request keep_n(uint32_t n, const moe_options & o, unsigned seed = 1) {
    prune::prune_request request;
    request.n_keep = n;
    std::mt19937 random(seed);
    for (int il = 0; il < o.n_layer; ++il) {
        auto & scores = request.scores.layers[il];
        scores.resize(static_cast<size_t>(o.n_expert));
        std::iota(scores.begin(), scores.end(), 1);
        std::shuffle(scores.begin(), scores.end(), random);
    }
    return request;
}

inline std::vector<char> tensor_bytes(const gguf::model_file & m, const std::string & name) {
    const auto * t = m.find(name);
    if (t == nullptr) {
        ADD_FAILURE() << name << " is missing";
        return {};
    }
    std::vector<char> bytes(t->size);
    const auto &      part = m.parts()[t->part];
    part.file.read_at(part.header.data_begin + t->offset, bytes.data(), bytes.size());
    return bytes;
}

// The slabs of those ids, cut out of the whole tensor by hand.
inline std::vector<char> slabs(const std::vector<char> & whole, size_t n_slab, const std::vector<int32_t> & ids) {
    const size_t      size = whole.size() / n_slab;
    std::vector<char> out;
    for (const int32_t id : ids) {
        out.insert(out.end(), whole.begin() + static_cast<long>(size) * id,
                   whole.begin() + static_cast<long>(size) * (id + 1));
    }
    return out;
}

inline std::string refusal(const gguf::model_file & model, const prune::prune_request & request) {
    try {
        prune::plan_prune(model, request);
        return {};
    } catch (const error & e) {
        return e.what();
    }
}

inline std::string refusal(const moe_options & o, uint32_t n_keep) {
    const scratch_folder dir;
    return refusal(gguf::model_file(make_moe(o).write(dir / "m.gguf")), keep_n(n_keep, o));
}

inline bool warns(const prune::prune_plan & plan, const std::string & part) {
    return std::any_of(plan.warnings.begin(), plan.warnings.end(),
                       [&](const std::string & w) { return w.find(part) != std::string::npos; });
}

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << "says: " << (text)

}  // namespace moescope::test
