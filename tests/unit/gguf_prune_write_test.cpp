#include "support/pruned_moe.hpp"

#include "core/hash_table.hpp"
#include "gguf/kept_experts.hpp"

#include <set>

using namespace moescope;
using namespace moescope::test;

TEST(gguf_prune_write, keeping_all_changes_no_tensor) {
    const scratch_folder   dir;
    const moe_options      o;
    const gguf::model_file model(make_moe(o).write(dir / "m.gguf"));
    prune::write_pruned(model, prune::plan_prune(model, keep_n(8, o)), {"reap", "s.json", 0}, dir / "out.gguf");
    const gguf::model_file out(dir / "out.gguf");
    ASSERT_EQ(out.tensors().size(), model.tensors().size());
    for (size_t i = 0; i < out.tensors().size(); ++i) {
        EXPECT_EQ(out.tensors()[i].name, model.tensors()[i].name);
        EXPECT_EQ(out.tensors()[i].type, model.tensors()[i].type);
        EXPECT_EQ(out.tensors()[i].ne, model.tensors()[i].ne);
        EXPECT_EQ(tensor_bytes(out, out.tensors()[i].name), tensor_bytes(model, out.tensors()[i].name));
    }
    EXPECT_EQ(std::filesystem::file_size(dir / "out.gguf") % 32, 0u);
}

TEST(gguf_prune_write, slices_every_tensor_with_an_expert_dimension_and_no_other) {
    const scratch_folder    dir;
    const moe_options       o;
    const gguf::model_file  model(make_moe(o).write(dir / "m.gguf"));
    const prune::prune_plan plan = prune::plan_prune(model, keep_n(5, o));
    prune::write_pruned(model, plan, {"reap", "s.json", 0}, dir / "out.gguf");
    const gguf::model_file      out(dir / "out.gguf");
    const std::set<std::string> sliced = {"ffn_gate_inp.weight",  "ffn_gate_inp.bias",        "exp_probs_b.bias",
                                          "exp_probs_b_vl.bias",  "ffn_gate_exps.weight",     "ffn_up_exps.weight",
                                          "ffn_down_exps.weight", "ffn_gate_up_exps.weight",  "ffn_down_exps.bias",
                                          "ffn_down_exps.scale",  "ffn_down_exps.input_scale"};
    for (const auto & t : model.tensors()) {
        const auto name  = gguf::parse_tensor_name(t.name);
        const bool is    = sliced.count(name.base + "." + name.suffix) > 0;
        const auto whole = tensor_bytes(model, t.name);
        EXPECT_EQ(tensor_bytes(out, t.name), is ? slabs(whole, 8, plan.layers.at(name.layer).kept) : whole) << t.name;
    }
    EXPECT_EQ(out.find("blk.0.ffn_up_exps.weight")->ne, (std::array<int64_t, 4>{4, 3, 5, 1}));
    EXPECT_EQ(out.metadata().get_uint("deepseek2.expert_count"), 5u);
    EXPECT_EQ(out.metadata().get_uint("deepseek2.expert_used_count"), 2u);
}

TEST(gguf_prune_write, keeps_the_best_and_says_so_in_the_file) {
    const scratch_folder       dir;
    const moe_options          o;
    const gguf::model_file     model(make_moe(o).write(dir / "m.gguf"));
    const prune::prune_request request = keep_n(3, o);
    const prune::prune_plan    plan    = prune::plan_prune(model, request);
    for (const auto & [il, layer] : plan.layers) {
        std::vector<int32_t> best;  // scores are a permutation of 1 to 8
        for (int32_t e = 0; e < 8; ++e) {
            if (request.scores.layers.at(il)[static_cast<size_t>(e)] > 5) {
                best.push_back(e);
            }
        }
        EXPECT_EQ(layer.kept, best);
    }
    prune::write_pruned(model, plan, {"reap", "/some/where/stats.json", 0}, dir / "out.gguf");
    const gguf::model_file out(dir / "out.gguf");
    EXPECT_EQ(out.metadata().get_string("moescope.prune.criterion"), "reap");
    EXPECT_EQ(out.metadata().get_string("moescope.prune.statistics"), "stats.json");
    EXPECT_EQ(out.metadata().get_string("moescope.prune.source"), "m.gguf");
    EXPECT_EQ(out.metadata().get_uint("moescope.prune.expert_count"), 8u);
    const auto kept = out.metadata().get_uints("moescope.prune.kept.1");
    EXPECT_TRUE(std::equal(kept.begin(), kept.end(), plan.layers.at(1).kept.begin(), plan.layers.at(1).kept.end()));

    // Metadata that pruning does not concern are the same bytes.
    const auto raw = [](const gguf::model_file & m, const std::string & key) {
        const auto * e = m.parts()[0].header.find(key);
        std::string  bytes(e->end - e->begin, '\0');
        m.parts()[0].file.read_at(e->begin, bytes.data(), bytes.size());
        return bytes;
    };
    EXPECT_EQ(raw(out, "tokenizer.ggml.nul"), raw(model, "tokenizer.ggml.nul"));
}

TEST(gguf_prune_write, pruning_twice_names_the_experts_of_the_first_model) {
    const scratch_folder   dir;
    const moe_options      o;
    const gguf::model_file model(make_moe(o).write(dir / "m.gguf"));
    prune::write_pruned(model, prune::plan_prune(model, keep_n(6, o, 1)), {"reap", "", 0}, dir / "six.gguf");
    const gguf::model_file six(dir / "six.gguf");
    moe_options            o6 = o;
    o6.n_expert               = 6;
    prune::write_pruned(six, prune::plan_prune(six, keep_n(3, o6, 2)), {"ean", "", 0}, dir / "three.gguf");
    const gguf::model_file three(dir / "three.gguf");
    EXPECT_EQ(three.metadata().get_uint("moescope.prune.expert_count"), 8u);
    EXPECT_EQ(three.metadata().get_strings("moescope.prune.history").size(), 2u);
    for (int il = 0; il < 2; ++il) {
        const auto                 ids  = three.metadata().get_uints("moescope.prune.kept." + std::to_string(il));
        const std::string          name = "blk." + std::to_string(il) + ".ffn_up_exps.weight";
        const std::vector<int32_t> kept(ids.begin(), ids.end());
        EXPECT_EQ(tensor_bytes(three, name), slabs(tensor_bytes(model, name), 8, kept));
    }

    // The same lists as a text, which llama.cpp keeps and a trace therefore has.
    const auto text = gguf::parse_kept_experts(*three.metadata().get_string(gguf::kept_experts_key), 8);
    EXPECT_EQ(text.of_layer, gguf::read_kept_experts(three.metadata(), 2, "three.gguf").of_layer);
    EXPECT_EQ(text.of_layer.size(), 2u);
}

TEST(gguf_prune_write, lists_of_kept_experts_as_text) {
    gguf::kept_experts kept;
    kept.n_expert = 200;
    kept.of_layer = {{0, {3, 0, 199}}, {7, {1}}};
    EXPECT_EQ(gguf::to_text(kept), "0:3,0,199;7:1");
    EXPECT_EQ(gguf::parse_kept_experts("0:3,0,199;7:1", 200).of_layer, kept.of_layer);
    for (const char * wrong : {"", "1,2", "0:", "0:1,", "0:1,x", "0:200", "0:1;2", "0:-1", "0:1;;", "99999999999:1"}) {
        EXPECT_TRUE(gguf::parse_kept_experts(wrong, 200).of_layer.empty()) << wrong;
    }
}

TEST(gguf_prune_write, split_inputs_become_one_file) {
    const scratch_folder dir;
    const moe_options    o;
    gguf_builder         whole = make_moe(o), first = whole, second;
    const size_t         half = whole.tensors.size() / 2;
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
    const gguf::model_file split(dir / "m-00001-of-00002.gguf"), single(whole.write(dir / "m.gguf"));
    prune::write_pruned(split, prune::plan_prune(split, keep_n(4, o)), {"reap", "", 0}, dir / "a.gguf");
    prune::write_pruned(single, prune::plan_prune(single, keep_n(4, o)), {"reap", "", 0}, dir / "b.gguf");
    const gguf::model_file a(dir / "a.gguf"), b(dir / "b.gguf");
    EXPECT_EQ(a.parts().size(), 1u);
    EXPECT_EQ(a.metadata().get_uint("split.count"), std::nullopt);
    ASSERT_EQ(a.tensors().size(), b.tensors().size());
    for (const auto & t : b.tensors()) {
        EXPECT_EQ(tensor_bytes(a, t.name), tensor_bytes(b, t.name)) << t.name;
    }
}

TEST(gguf_prune_write, chunks_stay_whole) {
    moe_options o;
    o.arch = "grovemoe", o.per_chunk = 2;
    const scratch_folder       dir;
    const gguf::model_file     model(make_moe(o).write(dir / "m.gguf"));
    const prune::prune_request request = keep_n(4, o);
    const prune::prune_plan    plan    = prune::plan_prune(model, request);
    prune::write_pruned(model, plan, {"reap", "", 0}, dir / "out.gguf");
    const gguf::model_file out(dir / "out.gguf");
    for (const auto & [il, layer] : plan.layers) {
        std::vector<int32_t> chunks;
        for (size_t i = 0; i < layer.kept.size(); i += 2) {
            EXPECT_EQ(layer.kept[i] % 2, 0);
            EXPECT_EQ(layer.kept[i + 1], layer.kept[i] + 1);
            chunks.push_back(layer.kept[i] / 2);
        }
        const std::string blk = "blk." + std::to_string(il) + ".";
        EXPECT_EQ(tensor_bytes(out, blk + "ffn_up_chexps.weight"),
                  slabs(tensor_bytes(model, blk + "ffn_up_chexps.weight"), 4, chunks));
        EXPECT_EQ(tensor_bytes(out, blk + "ffn_up_exps.weight"),
                  slabs(tensor_bytes(model, blk + "ffn_up_exps.weight"), 8, layer.kept));
        // The two chunks with the largest sums.
        const auto &        s = request.scores.layers.at(il);
        std::vector<double> sums;
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

TEST(gguf_prune_write, hash_tables_name_the_new_ids) {
    moe_options o;
    o.hash = true, o.n_used = 3;
    const scratch_folder    dir;
    const gguf::model_file  model(make_moe(o).write(dir / "m.gguf"));
    const prune::prune_plan plan   = prune::plan_prune(model, keep_n(4, o));
    const auto              result = prune::write_pruned(model, plan, {"reap", "", 0}, dir / "out.gguf");
    const gguf::model_file  out(dir / "out.gguf");
    uint64_t                n_gone = 0;
    for (const auto & [il, layer] : plan.layers) {
        const std::string    name      = "blk." + std::to_string(il) + ".ffn_gate_tid2eid.weight";
        const auto           old_bytes = tensor_bytes(model, name), new_bytes = tensor_bytes(out, name);
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
        EXPECT_LT(*std::max_element(used.begin(), used.end()), 40);  // nobody gets all
        EXPECT_GT(*std::min_element(used.begin(), used.end()), 0);
    }
    EXPECT_EQ(result.hash_ids_replaced, n_gone);
    EXPECT_TRUE(warns(plan, "route by token id"));
}

TEST(gguf_prune_write, a_hash_table_that_names_no_expert_is_refused) {
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

TEST(gguf_prune_write, never_over_the_model_itself) {
    const scratch_folder    dir;
    const moe_options       o;
    const gguf::model_file  model(make_moe(o).write(dir / "m.gguf"));
    const prune::prune_plan plan = prune::plan_prune(model, keep_n(4, o));
    EXPECT_THROW(prune::write_pruned(model, plan, {}, dir / "m.gguf"), error);
    EXPECT_THROW(prune::write_pruned(model, plan, {}, dir / "./m.gguf"), error);
}

TEST(gguf_prune_write, stopping_leaves_nothing_behind) {
    const scratch_folder    dir;
    const moe_options       o;
    const gguf::model_file  model(make_moe(o).write(dir / "m.gguf"));
    const prune::prune_plan plan = prune::plan_prune(model, keep_n(4, o));
    uint64_t                last = 0;
    EXPECT_THROW(prune::write_pruned(model, plan, {}, dir / "out.gguf",
                                     [&](uint64_t done, uint64_t total) {
                                         EXPECT_GT(done, last);
                                         EXPECT_EQ(total, plan.bytes_after);
                                         last = done;
                                         return done < total / 2;
                                     }),
                 error);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(std::filesystem::path(dir / "")), {}), 1);
    prune::write_pruned(model, plan, {}, dir / "out.gguf", [&](uint64_t done, uint64_t) {
        last = done;
        return true;
    });
    EXPECT_EQ(last, plan.bytes_after);
}
