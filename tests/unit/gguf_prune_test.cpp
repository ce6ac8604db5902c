#include "gguf_builder.hpp"

#include "core/error.hpp"
#include "gguf/expert_choice.hpp"
#include "gguf/hash_table.hpp"
#include "gguf/prune_plan.hpp"
#include "gguf/prune_writer.hpp"

#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <numeric>
#include <random>
#include <set>

using namespace moescope;
using namespace moescope::test;

namespace {

// n floats that say which tensor (tag) and which element they are: no slab equals another.
std::vector<uint8_t> tagged(int tag, int64_t n) {
    std::vector<float> values(static_cast<size_t>(n));
    for (size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(tag * 100000) + static_cast<float>(i);
    }
    const auto * p = reinterpret_cast<const uint8_t *>(values.data());
    return {p, p + values.size() * sizeof(float)};
}

struct moe_options {
    std::string arch      = "deepseek2";
    int         n_layer   = 2;
    int         n_nextn   = 0;
    int         n_expert  = 8;
    int         n_used    = 2;
    int         groups    = 0, groups_used = 0;
    int         per_chunk = 0;
    bool        hash      = false;
};

// Every kind of tensor that llama.cpp gives an expert dimension, and those that look like one and have none.
gguf_builder make_moe(const moe_options & o) {
    gguf_builder b;
    b.add_string("general.architecture", o.arch);
    b.add_string("tokenizer.ggml.nul", std::string("a\0b", 3));   // ggml's own copy of a key would cut this
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
        add(blk + "attn_k_b.weight", {4, 3, E});     // as many heads as there are experts
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

prune_request keep_n(uint32_t n, const moe_options & o, unsigned seed = 1) {
    prune_request request;
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

std::vector<char> tensor_bytes(const model_file & m, const std::string & name) {
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
std::vector<char> slabs(const std::vector<char> & whole, size_t n_slab, const std::vector<int32_t> & ids) {
    const size_t      size = whole.size() / n_slab;
    std::vector<char> out;
    for (const int32_t id : ids) {
        out.insert(out.end(), whole.begin() + static_cast<long>(size) * id, whole.begin() + static_cast<long>(size) * (id + 1));
    }
    return out;
}

std::string refusal(const model_file & model, const prune_request & request) {
    try {
        plan_prune(model, request);
        return {};
    } catch (const error & e) {
        return e.what();
    }
}

std::string refusal(const moe_options & o, uint32_t n_keep) {
    const temp_dir dir;
    return refusal(model_file(make_moe(o).write(dir / "m.gguf")), keep_n(n_keep, o));
}

bool warns(const prune_plan & plan, const std::string & part) {
    return std::any_of(plan.warnings.begin(), plan.warnings.end(),
                       [&](const std::string & w) { return w.find(part) != std::string::npos; });
}

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << "says: " << (text)

}  // namespace

TEST(GgufPrune, keeping_all_changes_no_tensor) {
    const temp_dir    dir;
    const moe_options o;
    const model_file  model(make_moe(o).write(dir / "m.gguf"));
    write_pruned(model, plan_prune(model, keep_n(8, o)), {"reap", "s.json", 0}, dir / "out.gguf");
    const model_file out(dir / "out.gguf");
    ASSERT_EQ(out.tensors().size(), model.tensors().size());
    for (size_t i = 0; i < out.tensors().size(); ++i) {
        EXPECT_EQ(out.tensors()[i].name, model.tensors()[i].name);
        EXPECT_EQ(out.tensors()[i].type, model.tensors()[i].type);
        EXPECT_EQ(out.tensors()[i].ne, model.tensors()[i].ne);
        EXPECT_EQ(tensor_bytes(out, out.tensors()[i].name), tensor_bytes(model, out.tensors()[i].name));
    }
    EXPECT_EQ(std::filesystem::file_size(dir / "out.gguf") % 32, 0u);
}

TEST(GgufPrune, slices_every_tensor_with_an_expert_dimension_and_no_other) {
    const temp_dir    dir;
    const moe_options o;
    const model_file  model(make_moe(o).write(dir / "m.gguf"));
    const prune_plan  plan = plan_prune(model, keep_n(5, o));
    write_pruned(model, plan, {"reap", "s.json", 0}, dir / "out.gguf");
    const model_file            out(dir / "out.gguf");
    const std::set<std::string> sliced = {
        "ffn_gate_inp.weight", "ffn_gate_inp.bias", "exp_probs_b.bias", "exp_probs_b_vl.bias", "ffn_gate_exps.weight",
        "ffn_up_exps.weight", "ffn_down_exps.weight", "ffn_gate_up_exps.weight", "ffn_down_exps.bias",
        "ffn_down_exps.scale", "ffn_down_exps.input_scale"};
    for (const auto & t : model.tensors()) {
        const auto name  = parse_tensor_name(t.name);
        const bool is    = sliced.count(name.base + "." + name.suffix) > 0;
        const auto whole = tensor_bytes(model, t.name);
        EXPECT_EQ(tensor_bytes(out, t.name), is ? slabs(whole, 8, plan.layers.at(name.layer).kept) : whole) << t.name;
    }
    EXPECT_EQ(out.find("blk.0.ffn_up_exps.weight")->ne, (std::array<int64_t, 4>{4, 3, 5, 1}));
    EXPECT_EQ(out.metadata().get_uint("deepseek2.expert_count"), 5u);
    EXPECT_EQ(out.metadata().get_uint("deepseek2.expert_used_count"), 2u);
}

TEST(GgufPrune, keeps_the_best_and_says_so_in_the_file) {
    const temp_dir      dir;
    const moe_options   o;
    const model_file    model(make_moe(o).write(dir / "m.gguf"));
    const prune_request request = keep_n(3, o);
    const prune_plan    plan    = plan_prune(model, request);
    for (const auto & [il, layer] : plan.layers) {
        std::vector<int32_t> best;   // scores are a permutation of 1 to 8
        for (int32_t e = 0; e < 8; ++e) {
            if (request.scores.layers.at(il)[static_cast<size_t>(e)] > 5) {
                best.push_back(e);
            }
        }
        EXPECT_EQ(layer.kept, best);
        EXPECT_EQ(layer.kept_score, 6 + 7 + 8);
        EXPECT_EQ(layer.total_score, 36);
    }
    write_pruned(model, plan, {"reap", "/some/where/stats.json", 0}, dir / "out.gguf");
    const model_file out(dir / "out.gguf");
    EXPECT_EQ(out.metadata().get_string("moescope.prune.criterion"), "reap");
    EXPECT_EQ(out.metadata().get_string("moescope.prune.statistics"), "stats.json");
    EXPECT_EQ(out.metadata().get_string("moescope.prune.source"), "m.gguf");
    EXPECT_EQ(out.metadata().get_uint("moescope.prune.expert_count"), 8u);
    const auto kept = out.metadata().get_uints("moescope.prune.kept.1");
    EXPECT_TRUE(std::equal(kept.begin(), kept.end(), plan.layers.at(1).kept.begin(), plan.layers.at(1).kept.end()));

    // Metadata that pruning does not concern are the same bytes.
    const auto raw = [](const model_file & m, const std::string & key) {
        const auto * e = m.parts()[0].header.find(key);
        std::string  bytes(e->end - e->begin, '\0');
        m.parts()[0].file.read_at(e->begin, bytes.data(), bytes.size());
        return bytes;
    };
    EXPECT_EQ(raw(out, "tokenizer.ggml.nul"), raw(model, "tokenizer.ggml.nul"));
}

TEST(GgufPrune, pruning_twice_names_the_experts_of_the_first_model) {
    const temp_dir    dir;
    const moe_options o;
    const model_file  model(make_moe(o).write(dir / "m.gguf"));
    write_pruned(model, plan_prune(model, keep_n(6, o, 1)), {"reap", "", 0}, dir / "six.gguf");
    const model_file six(dir / "six.gguf");
    moe_options      o6 = o;
    o6.n_expert         = 6;
    write_pruned(six, plan_prune(six, keep_n(3, o6, 2)), {"ean", "", 0}, dir / "three.gguf");
    const model_file three(dir / "three.gguf");
    EXPECT_EQ(three.metadata().get_uint("moescope.prune.expert_count"), 8u);
    EXPECT_EQ(three.metadata().get_strings("moescope.prune.history").size(), 2u);
    for (int il = 0; il < 2; ++il) {
        const auto                 ids   = three.metadata().get_uints("moescope.prune.kept." + std::to_string(il));
        const std::string          name  = "blk." + std::to_string(il) + ".ffn_up_exps.weight";
        const std::vector<int32_t> kept(ids.begin(), ids.end());
        EXPECT_EQ(tensor_bytes(three, name), slabs(tensor_bytes(model, name), 8, kept));
    }
}

TEST(GgufPrune, split_inputs_become_one_file) {
    const temp_dir    dir;
    const moe_options o;
    gguf_builder      whole = make_moe(o), first = whole, second;
    const size_t      half  = whole.tensors.size() / 2;
    first.tensors.resize(half);
    for (size_t i = half; i < whole.tensors.size(); ++i) {
        const auto & t = whole.tensors[i];
        second.add_tensor(t.name, static_cast<ggml_type>(t.type), t.ne, t.data);
    }
    for (auto [b, no] : {std::pair(&first, 0), std::pair(&second, 1)}) {
        b->add_u16("split.no", static_cast<uint16_t>(no));
        b->add_u16("split.count", 2);
        b->add_i32("split.tensors.count", static_cast<int32_t>(whole.tensors.size()));
    }
    first.write(dir / "m-00001-of-00002.gguf");
    second.write(dir / "m-00002-of-00002.gguf");
    const model_file split(dir / "m-00001-of-00002.gguf"), single(whole.write(dir / "m.gguf"));
    write_pruned(split, plan_prune(split, keep_n(4, o)), {"reap", "", 0}, dir / "a.gguf");
    write_pruned(single, plan_prune(single, keep_n(4, o)), {"reap", "", 0}, dir / "b.gguf");
    const model_file a(dir / "a.gguf"), b(dir / "b.gguf");
    EXPECT_EQ(a.parts().size(), 1u);
    EXPECT_EQ(a.metadata().get_uint("split.count"), std::nullopt);
    ASSERT_EQ(a.tensors().size(), b.tensors().size());
    for (const auto & t : b.tensors()) {
        EXPECT_EQ(tensor_bytes(a, t.name), tensor_bytes(b, t.name)) << t.name;
    }
}

TEST(GgufPrune, groups_shrink_equally) {
    moe_options o;
    o.n_expert = 16, o.n_used = 3, o.groups = 4, o.groups_used = 2;
    const temp_dir      dir;
    const model_file    model(make_moe(o).write(dir / "m.gguf"));
    const prune_request request = keep_n(8, o);
    const prune_plan    plan    = plan_prune(model, request);
    for (const auto & [il, layer] : plan.layers) {
        const auto & scores = request.scores.layers.at(il);
        for (int g = 0; g < 4; ++g) {
            std::vector<int32_t> group = {4 * g, 4 * g + 1, 4 * g + 2, 4 * g + 3};
            std::sort(group.begin(), group.end(), [&](int32_t a, int32_t b) { return scores[size_t(a)] > scores[size_t(b)]; });
            for (int i = 0; i < 4; ++i) {
                EXPECT_EQ(std::count(layer.kept.begin(), layer.kept.end(), group[size_t(i)]), i < 2 ? 1 : 0);
            }
        }
    }
    EXPECT_SAYS(refusal(o, 10), "multiple of 4");
    EXPECT_SAYS(refusal(o, 4), "keep at least 8");   // one in each group: the router rates groups by their best two
    o.n_used = 5;
    EXPECT_SAYS(refusal(o, 8), "keep at least 12");  // two groups of two hold only four
    EXPECT_EQ(refusal(o, 12), "");
}

TEST(GgufPrune, chunks_stay_whole) {
    moe_options o;
    o.arch = "grovemoe", o.per_chunk = 2;
    const temp_dir      dir;
    const model_file    model(make_moe(o).write(dir / "m.gguf"));
    const prune_request request = keep_n(4, o);
    const prune_plan    plan    = plan_prune(model, request);
    write_pruned(model, plan, {"reap", "", 0}, dir / "out.gguf");
    const model_file out(dir / "out.gguf");
    for (const auto & [il, layer] : plan.layers) {
        std::vector<int32_t> chunks;
        for (size_t i = 0; i < layer.kept.size(); i += 2) {
            EXPECT_EQ(layer.kept[i] % 2, 0);
            EXPECT_EQ(layer.kept[i + 1], layer.kept[i] + 1);
            chunks.push_back(layer.kept[i] / 2);
        }
        const std::string blk = "blk." + std::to_string(il) + ".";
        EXPECT_EQ(tensor_bytes(out, blk + "ffn_up_chexps.weight"), slabs(tensor_bytes(model, blk + "ffn_up_chexps.weight"), 4, chunks));
        EXPECT_EQ(tensor_bytes(out, blk + "ffn_up_exps.weight"), slabs(tensor_bytes(model, blk + "ffn_up_exps.weight"), 8, layer.kept));
        // The two chunks with the largest sums.
        const auto &           s = request.scores.layers.at(il);
        std::vector<double>    sums;
        for (size_t c = 0; c < 4; ++c) {
            sums.push_back(s[2 * c] + s[2 * c + 1]);
        }
        for (size_t c = 0; c < 4; ++c) {
            const auto larger = std::count_if(sums.begin(), sums.end(), [&](double x) { return x > sums[c]; });
            const auto equal  = std::count(sums.begin(), sums.begin() + static_cast<long>(c), sums[c]);
            EXPECT_EQ(std::count(chunks.begin(), chunks.end(), int(c)), larger + equal < 2 ? 1 : 0);
        }
    }
    EXPECT_SAYS(refusal(o, 5), "multiple of 2");
}

TEST(GgufPrune, hash_tables_name_the_new_ids) {
    moe_options o;
    o.hash = true, o.n_used = 3;
    const temp_dir   dir;
    const model_file model(make_moe(o).write(dir / "m.gguf"));
    const prune_plan plan   = plan_prune(model, keep_n(4, o));
    const auto       result = write_pruned(model, plan, {"reap", "", 0}, dir / "out.gguf");
    const model_file out(dir / "out.gguf");
    uint64_t         n_gone = 0;
    for (const auto & [il, layer] : plan.layers) {
        const std::string name = "blk." + std::to_string(il) + ".ffn_gate_tid2eid.weight";
        const auto        old_bytes = tensor_bytes(model, name), new_bytes = tensor_bytes(out, name);
        std::vector<int32_t> old_ids(old_bytes.size() / 4), new_ids(new_bytes.size() / 4);
        std::memcpy(old_ids.data(), old_bytes.data(), old_bytes.size());
        std::memcpy(new_ids.data(), new_bytes.data(), new_bytes.size());
        std::vector<int> used(4, 0);
        for (size_t row = 0; row < 40; ++row) {
            std::set<int32_t> distinct;
            for (size_t j = row * 3; j < row * 3 + 3; ++j) {
                const auto it = std::find(layer.kept.begin(), layer.kept.end(), old_ids[j]);
                ASSERT_GE(new_ids[j], 0);
                ASSERT_LT(new_ids[j], 4);
                if (it != layer.kept.end()) {
                    EXPECT_EQ(new_ids[j], it - layer.kept.begin());
                } else {
                    ++n_gone;
                    ++used[static_cast<size_t>(new_ids[j])];
                }
                distinct.insert(new_ids[j]);
            }
            EXPECT_EQ(distinct.size(), 3u);
        }
        EXPECT_LT(*std::max_element(used.begin(), used.end()), 40);   // nobody gets all
        EXPECT_GT(*std::min_element(used.begin(), used.end()), 0);
    }
    EXPECT_EQ(result.hash_ids_replaced, n_gone);
    EXPECT_TRUE(warns(plan, "route by token id"));
}

TEST(GgufPrune, a_hash_table_that_names_no_expert_is_refused) {
    hash_table_remap     remap({0, 2}, 4, 2);
    std::vector<int32_t> good = {1, 3, 0, 2, 2, 1};
    remap.apply(good.data(), 3);
    EXPECT_EQ(good[2], 0);
    EXPECT_EQ(good[3], 1);
    EXPECT_EQ(remap.n_replaced(), 3u);
    std::vector<int32_t> bad = {0, 4};
    EXPECT_THROW(remap.apply(bad.data(), 1), error);
    EXPECT_THROW(hash_table_remap({0, 2}, 4, 3), error);
}

TEST(GgufPrune, mtp_blocks_shrink_too) {
    moe_options o;
    o.arch = "glm4moe", o.n_layer = 3, o.n_nextn = 1;
    const temp_dir   dir;
    const model_file model(make_moe(o).write(dir / "m.gguf"));
    prune_request    request = keep_n(4, o);
    prune_plan       plan    = plan_prune(model, request);
    EXPECT_TRUE(plan.layers.at(2).is_mtp);
    EXPECT_TRUE(plan.warnings.empty());
    request.scores.layers.erase(2);   // never ran
    plan = plan_prune(model, request);
    EXPECT_EQ(plan.layers.at(2).kept.size(), 4u);
    ASSERT_EQ(plan.warnings.size(), 1u);
    EXPECT_SAYS(plan.warnings[0], "layer 2 drafts");
    write_pruned(model, plan, {"reap", "", 0}, dir / "out.gguf");
    EXPECT_EQ(model_file(dir / "out.gguf").find("blk.2.ffn_down_exps.weight")->ne[2], 4);

    request.scores.layers.erase(1);
    EXPECT_SAYS(refusal(model, request), "nothing about layer 1");
}

TEST(GgufPrune, per_layer_top_k_bounds_the_count) {
    gguf_builder b;
    b.add_string("general.architecture", "nemotron_h_moe");
    b.add_u32("nemotron_h_moe.block_count", 3);
    b.add_u32("nemotron_h_moe.expert_count", 8);
    b.add_u32s("nemotron_h_moe.expert_used_count", {0, 2, 5});
    b.add_tensor("blk.1.ffn_gate_inp.weight", GGML_TYPE_F32, {4, 8});
    b.add_tensor("blk.1.ffn_up_exps.weight", GGML_TYPE_F32, {4, 3, 8});
    const temp_dir   dir;
    const model_file model(b.write(dir / "m.gguf"));
    prune_request    request;
    request.criterion = prune_criterion::random;
    request.n_keep    = 4;
    EXPECT_SAYS(refusal(model, request), "a token uses 5");
    request.n_keep = 5;
    EXPECT_EQ(refusal(model, request), "");
}

TEST(GgufPrune, refusals_name_their_reason) {
    const temp_dir    dir;
    const moe_options o;
    EXPECT_SAYS(refusal(o, 1), "a token uses 2");
    EXPECT_SAYS(refusal(o, 9), "cannot keep 9 experts of 8");

    gguf_builder b = make_moe(o);
    b.add_tensor("blk.0.ffn_sideways_exps.weight", GGML_TYPE_F32, {4, 3, 8});
    b.add_tensor("blk.1.mystery.weight", GGML_TYPE_F32, {4, 3, 8});
    const model_file unknown(b.write(dir / "unknown.gguf"));
    EXPECT_SAYS(refusal(unknown, keep_n(4, o)), "blk.0.ffn_sideways_exps.weight, blk.1.mystery.weight");

    b = make_moe(o);
    for (auto & t : b.tensors) {
        if (t.name == "blk.1.ffn_gate_inp.weight") {
            t.name = "blk.1.ffn_other.weight";
        }
    }
    EXPECT_SAYS(refusal(model_file(b.write(dir / "norouter.gguf")), keep_n(4, o)), "layer 1 has experts but 0 routers");

    b = make_moe(o);
    b.add_tensor("blk.0.ffn_gate.3.weight", GGML_TYPE_F32, {4, 3});   // one tensor per expert: before 2024
    EXPECT_SAYS(refusal(model_file(b.write(dir / "old.gguf")), keep_n(4, o)), "blk.0.ffn_gate.3.weight");

    moe_options other = o;
    other.n_expert    = 16;
    EXPECT_SAYS(refusal(model_file(make_moe(o).write(dir / "m.gguf")), keep_n(4, other)), "another model");

    moe_options maverick = o;
    maverick.arch = "llama4", maverick.n_expert = 128, maverick.n_used = 1;
    EXPECT_SAYS(refusal(maverick, 64), "Maverick");
    EXPECT_EQ(refusal(maverick, 128), "");
    maverick.n_expert = 16;
    EXPECT_EQ(refusal(maverick, 8), "");

    moe_options dense = o;
    dense.n_expert = 0, dense.n_used = 0;
    gguf_builder plain;
    plain.add_string("general.architecture", "llama");
    plain.add_tensor("token_embd.weight", GGML_TYPE_F32, {4, 5});
    EXPECT_SAYS(refusal(model_file(plain.write(dir / "dense.gguf")), keep_n(4, o)), "not a mixture of experts");

    prune_request nan = keep_n(4, o);
    nan.scores.layers[0][3] = std::numeric_limits<double>::quiet_NaN();
    EXPECT_SAYS(refusal(model_file(dir / "m.gguf"), nan), "not finite");
}

TEST(GgufPrune, never_over_the_model_itself) {
    const temp_dir    dir;
    const moe_options o;
    const model_file  model(make_moe(o).write(dir / "m.gguf"));
    const prune_plan  plan = plan_prune(model, keep_n(4, o));
    EXPECT_THROW(write_pruned(model, plan, {}, dir / "m.gguf"), error);
    EXPECT_THROW(write_pruned(model, plan, {}, dir / "./m.gguf"), error);
}

TEST(GgufPrune, stopping_leaves_nothing_behind) {
    const temp_dir    dir;
    const moe_options o;
    const model_file  model(make_moe(o).write(dir / "m.gguf"));
    const prune_plan  plan = plan_prune(model, keep_n(4, o));
    uint64_t          last = 0;
    EXPECT_THROW(write_pruned(model, plan, {}, dir / "out.gguf", [&](uint64_t done, uint64_t total) {
        EXPECT_GT(done, last);
        EXPECT_EQ(total, plan.bytes_after);
        last = done;
        return done < total / 2;
    }), error);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(std::filesystem::path(dir / "")), {}), 1);
    write_pruned(model, plan, {}, dir / "out.gguf", [&](uint64_t done, uint64_t) { last = done; return true; });
    EXPECT_EQ(last, plan.bytes_after);
}

TEST(GgufPrune, protected_experts_stay) {
    const temp_dir    dir;
    const moe_options o;
    const model_file  model(make_moe(o).write(dir / "m.gguf"));
    prune_request     request = keep_n(3, o);
    for (auto & [il, scores] : request.scores.layers) {
        std::iota(scores.begin(), scores.end(), 0);   // the best are 5, 6, 7
    }
    request.protect = parse_expert_ids({"0", "1:2"}, "--protect");
    const prune_plan plan = plan_prune(model, request);
    EXPECT_EQ(plan.layers.at(0).kept, (std::vector<int32_t>{0, 6, 7}));
    EXPECT_EQ(plan.layers.at(1).kept, (std::vector<int32_t>{0, 2, 7}));
    request.protect = parse_expert_ids({"0,1,2,3"}, "--protect");
    EXPECT_SAYS(refusal(model, request), "protected");
    request.protect = parse_expert_ids({"8"}, "--protect");
    EXPECT_SAYS(refusal(model, request), "expert 8");
    EXPECT_THROW(parse_expert_ids({"1,x"}, "--protect"), usage_error);
    EXPECT_THROW(parse_expert_ids({""}, "--protect"), usage_error);
}

TEST(GgufPrune, ids_from_a_file) {
    const temp_dir    dir;
    const moe_options o;
    const model_file  model(make_moe(o).write(dir / "m.gguf"));
    prune_request     request;
    request.criterion   = prune_criterion::ids;
    const auto from     = [&](const std::string & text) {
        std::ofstream(dir / "ids") << text;
        request.keep_ids = read_expert_ids(dir / "ids");
        return request;
    };
    for (const char * text : {"# mine\n0: 7, 2, 3\n1: 0 1 2\n", "0,7 2 3\n1,0 1 2", R"({"0": [7, 2, 3], "1": [0, 1, 2]})"}) {
        const prune_plan plan = plan_prune(model, from(text));
        EXPECT_EQ(plan.n_keep, 3u);
        EXPECT_EQ(plan.layers.at(0).kept, (std::vector<int32_t>{2, 3, 7}));
        EXPECT_EQ(plan.layers.at(1).kept, (std::vector<int32_t>{0, 1, 2}));
    }
    EXPECT_SAYS(refusal(model, from("0: 1 2 3\n1: 1 2\n")), "one expert_count");
    EXPECT_SAYS(refusal(model, from("0: 1 2 3\n")), "nothing about layer 1");
    EXPECT_SAYS(refusal(model, from("0: 1 2 3\n1: 1 2 8\n")), "expert 8");
    EXPECT_SAYS(refusal(model, from("0: 1 2 3\n1: 1 2 2\n")), "comes twice");
    EXPECT_SAYS(refusal(model, from("0: 1 2 3\n1: 1 2 3\n7: 1 2 3\n")), "layer 7 has no experts");
    EXPECT_THROW(from("0: 1 2\n0: 3 4\n"), error);
    EXPECT_THROW(from("zero: 1 2\n"), error);
    EXPECT_THROW(from(""), error);

    moe_options grouped;
    grouped.groups = 2, grouped.groups_used = 1;
    const model_file groups(make_moe(grouped).write(dir / "g.gguf"));
    EXPECT_EQ(refusal(groups, from("0: 0 1 4 5\n1: 2 3 6 7\n")), "");
    EXPECT_SAYS(refusal(groups, from("0: 0 1 2 5\n1: 2 3 6 7\n")), "same number");
}

TEST(GgufPrune, random_is_seeded) {
    EXPECT_EQ(random_scores(7, 3, 64), random_scores(7, 3, 64));
    EXPECT_NE(random_scores(7, 3, 64), random_scores(8, 3, 64));
    EXPECT_NE(random_scores(7, 3, 64), random_scores(7, 4, 64));
    double sum = 0;
    for (const double s : random_scores(1, 0, 10000)) {
        ASSERT_GE(s, 0);
        ASSERT_LT(s, 1);
        sum += s;
    }
    EXPECT_NEAR(sum / 10000, 0.5, 0.02);   // 1 / sqrt(12 * 10000) is 0.003
}

TEST(GgufPrune, ratio_is_what_goes) {
    moe_shape shape;
    shape.n_expert = 64;
    EXPECT_EQ(keep_for_ratio(shape, 0.25), 48u);
    EXPECT_EQ(keep_for_ratio(shape, 0.0), 64u);
    EXPECT_EQ(keep_for_ratio(shape, 0.3), 45u);   // 44.8: never more than asked for
    shape.n_expert_groups = 8;
    EXPECT_EQ(keep_for_ratio(shape, 0.3), 48u);
}

TEST(GgufPrune, warns_of_what_pruning_changes) {
    const temp_dir dir;
    moe_options    o;
    const auto     plan = [&](const std::string & arch, uint32_t n_keep) {
        o.arch = arch;
        return plan_prune(model_file(make_moe(o).write(dir / "m.gguf")), keep_n(n_keep, o));
    };
    EXPECT_TRUE(plan("glm4moe", 4).warnings.empty());   // a sigmoid for each expert: nothing changes for the others
    EXPECT_TRUE(warns(plan("glm4moe", 5), "CUDA"));
    EXPECT_TRUE(warns(plan("olmoe", 4), "softmax over all"));
    EXPECT_TRUE(warns(plan("deepseek2", 4), "softmax over all"));
    EXPECT_TRUE(warns(plan("ernie4_5-moe", 4), "adds a bias"));
    EXPECT_FALSE(warns(plan("ernie4_5-moe", 4), "softmax over all"));   // normalised after the selection
    EXPECT_TRUE(plan("olmoe", 8).warnings.empty());                     // nothing goes
}
