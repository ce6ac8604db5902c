#pragma once

// Prunes a model in three ways and has llama.cpp judge each; see prune_architectures_test.cpp.

#include "core/error.hpp"
#include "make-model/random_model.hpp"
#include "prune/expert_choice.hpp"
#include "prune/plan.hpp"
#include "prune/router_kind.hpp"
#include "prune/writer.hpp"
#include "routed_run.hpp"
#include "scratch_folder.hpp"

#include <set>

namespace moescope::test {

struct prune_case {
    std::string                name;
    make_model::random_options options;
    int                        n_token = 5;
};

// What was seen in the cases of one architecture, for the count at the end.
class checked_case {
public:
    checked_case(const prune_case & c, const scratch_folder & dir)
        : case_(c),
          dir_(dir),
          arch_(c.options.shape.arch),
          source_(prepare()),
          before_(run(source_.path(), arch_, c.n_token)) {}

    std::string check() {
        keep_all();
        const std::string how = keep_what_is_used();
        keep_k();
        return how;
    }

private:
    const std::string & prepare() {
        path_ = dir_ / "source.gguf";
        write_random_model(path_, case_.options);
        return path_;
    }

    // Writes the pruned model, checks its map, runs it.
    run_result prune(const prune::prune_request & request, const char * file, prune::prune_plan & plan) {
        plan = prune::plan_prune(source_, request);
        prune::write_pruned(source_, plan, {prune::criterion_name(request.criterion), "", request.seed}, dir_ / file);
        require(gguf::check_model_layout(dir_ / file).empty(), "the pruned file has layout problems");
        run_result after = run(dir_ / file, arch_, case_.n_token);
        for (const auto & [il, rows] : after.seen.ids) {
            for (const auto & row : rows) {
                for (const int32_t id : row) {
                    require(id >= 0 && static_cast<uint32_t>(id) < plan.n_keep, "an id that is not there");
                }
            }
        }
        return after;
    }

    void keep_all() {
        prune::prune_request request;
        prune::prune_plan    plan;
        request.criterion            = prune::prune_criterion::random;
        request.n_keep               = gguf::read_moe_shape(source_.metadata()).n_expert;
        const run_result       after = prune(request, "all.gguf", plan);
        const gguf::model_file pruned(dir_ / "all.gguf");
        require(pruned.tensors().size() == source_.tensors().size(), "another number of tensors");
        for (size_t i = 0; i < pruned.tensors().size(); ++i) {
            require(bytes_of(pruned, i) == bytes_of(source_, i), "another content of " + pruned.tensors()[i].name);
        }
        require(after.outputs == before_.outputs, "keeping all changes the logits");
        require(after.seen.ids == before_.seen.ids, "keeping all changes the routing");
    }

    static std::vector<char> bytes_of(const gguf::model_file & m, size_t i) {
        const auto &      t = m.tensors()[i];
        std::vector<char> bytes(t.size);
        m.parts()[t.part].file.read_at(m.parts()[t.part].header.data_begin + t.offset, bytes.data(), bytes.size());
        return bytes;
    }

    // Experts that must stay in a layer so that the prompt is routed as before: the selected ones, and with groups the
    // best two of each group, by which it is rated.
    std::set<int32_t> needed(int il, const gguf::moe_shape & shape) const {
        std::set<int32_t> ids;
        const auto        it = before_.seen.ids.find(il);
        for (const auto & row : it == before_.seen.ids.end() ? rows_of_ids{} : it->second) {
            ids.insert(row.begin(), row.end());
        }
        if (shape.n_expert_groups > 1) {
            const auto &  scores = before_.seen.selection.count(il) ? before_.seen.selection : before_.seen.probs;
            const int32_t size   = static_cast<int32_t>(shape.n_expert / shape.n_expert_groups);
            const auto    rows   = scores.find(il);
            for (const auto & row : rows == scores.end() ? rows_of_values{} : rows->second) {
                for (int32_t g = 0; g < static_cast<int32_t>(shape.n_expert_groups); ++g) {
                    std::vector<int32_t> group(static_cast<size_t>(size));
                    for (int32_t i = 0; i < size; ++i) {
                        group[static_cast<size_t>(i)] = g * size + i;
                    }
                    std::partial_sort(group.begin(), group.begin() + 2, group.end(), [&](int32_t a, int32_t b) {
                        return row[static_cast<size_t>(a)] > row[static_cast<size_t>(b)];
                    });
                    ids.insert(group.begin(), group.begin() + 2);
                }
            }
        }
        return ids;
    }

    // The smallest request that protects what is needed in each layer.
    prune::prune_request request_for_used() const {
        const gguf::moe_shape shape = gguf::read_moe_shape(source_.metadata());
        prune::prune_request  request;
        request.criterion = prune::prune_criterion::random;
        for (int il = 0; il < static_cast<int>(shape.n_layer); ++il) {
            for (const int32_t id : needed(il, shape)) {
                request.protect[il].push_back(id);
            }
        }
        const uint32_t step = prune::expert_count_step(shape);
        for (request.n_keep = step; request.n_keep < shape.n_expert; request.n_keep += step) {
            try {
                prune::plan_prune(source_, request);
                break;
            } catch (const error &) {  // too few for what is protected
            }
        }
        require(request.n_keep < shape.n_expert, "the prompt uses all experts: nothing can go");
        return request;
    }

    std::string keep_what_is_used() {
        prune::prune_plan plan;
        const run_result  after = prune(request_for_used(), "used.gguf", plan);
        const auto &      md    = source_.metadata();
        const bool        grows = prune::find_router_effect(md, arch_) == prune::router_effect::scales_gates;
        const bool        bias =
            source_.find("blk." + std::to_string(plan.layers.begin()->first) + ".exp_probs_b.bias") != nullptr;
        const std::string how = std::to_string(plan.n_keep) + " of " + std::to_string(plan.shape.n_expert);
        if (prune::adds_bias_to_softmax(md, arch_, bias)) {
            require(!plan.warnings.empty(), "no warning of the bias");
            return how + ", " + check_biased_softmax(plan, after) + " (bias added to a softmax)";
        }
        if (plan.shape.experts_per_chunk > 1) {
            require(!plan.warnings.empty(), "no warning of the adjugate experts");
            check_adjugate(plan, after);
            return how + ", adjugate experts weigh as expected";
        }
        if (grows) {
            require(!plan.warnings.empty(), "no warning of the gates");
            check_growth(plan, after);
            return how + ", gates grow as expected";
        }
        for (const auto & [il, layer] : plan.layers) {
            require(before_.seen.ids.count(il) == after.seen.ids.count(il),
                    "routing of layer " + std::to_string(il) + " is gone");
            check_ids(il, layer.kept, after);
        }
        return how + ", logits within " + std::to_string(check_logits(after));
    }

    void check_ids(int il, const std::vector<int32_t> & kept, const run_result & after) const {
        const auto it = before_.seen.ids.find(il);
        if (it == before_.seen.ids.end()) {
            return;
        }
        rows_of_ids mapped = after.seen.ids.at(il);
        for (auto & row : mapped) {
            for (int32_t & id : row) {
                id = kept.at(static_cast<size_t>(id));
            }
        }
        require(mapped == it->second, "layer " + std::to_string(il) + " selects other experts");
    }

    double check_logits(const run_result & after) const {
        double worst = 0, largest = 1;
        for (size_t i = 0; i < before_.outputs.size(); ++i) {
            worst   = std::max(worst, std::abs(double(before_.outputs[i]) - double(after.outputs[i])));
            largest = std::max(largest, std::abs(double(before_.outputs[i])));
        }
        // ggml's CPU code looks GELU up in a table of F16: the last bit of its argument may become 2^-11 of its value.
        const double tolerance = arch_ == "gemma4" || arch_ == "grok" ? 2e-3 : 1e-4;
        require(worst <= tolerance * largest, "logits differ by " + std::to_string(worst));
        return worst;
    }

    // Share of a token's probability that stays, in the first MoE layer, where the input is still the same.
    double probability_of(const std::vector<int32_t> & kept, int il, size_t row) const {
        double stays = 0;
        for (const int32_t id : kept) {
            stays += before_.seen.probs.at(il)[row][static_cast<size_t>(id)];
        }
        return stays;
    }

    // Probabilities of those that stay grow by 1 / stays, the bias does not: the selection is the top-k of their sum.
    std::string check_biased_softmax(const prune::prune_plan & plan, const run_result & after) const {
        const int    il     = before_.seen.ids.begin()->first;
        const auto & kept   = plan.layers.at(il).kept;
        const auto & biased = before_.seen.selection.at(il);
        size_t       n_same = 0, n_row = before_.seen.ids.at(il).size();
        for (size_t row = 0; row < n_row; ++row) {
            const auto & probs = before_.seen.probs.at(il)[row];
            const double stays = probability_of(kept, il, row);
            const auto   score = [&](int32_t id) {
                const auto e = static_cast<size_t>(id);
                return probs[e] / stays + (double(biased[row][e]) - double(probs[e]));
            };
            std::vector<int32_t> order = kept;
            std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return score(a) > score(b); });
            const auto & ids = after.seen.ids.at(il)[row];
            for (size_t i = 0; i < ids.size(); ++i) {
                require(score(order[i]) - score(order[i + 1]) > 1e-6, "ranks too close to tell");
                require(kept.at(static_cast<size_t>(ids[i])) == order[i], "the grown probabilities select otherwise");
                const double expected = probs[static_cast<size_t>(order[i])] / stays;
                require(std::abs(after.seen.weights.at(il)[row][i] - expected) <= 1e-5 * expected,
                        "gates grow otherwise");
            }
            order.resize(ids.size());
            n_same += order == before_.seen.ids.at(il)[row];
        }
        return std::to_string(n_same) + " of " + std::to_string(n_row) + " rows select as before, all as expected";
    }

    // Softmax over all experts: in the first MoE layer, where the input is still the same, a token's gates grow by
    // 1 / (1 - the probability of those that went).
    void check_growth(const prune::prune_plan & plan, const run_result & after) const {
        const int    il   = before_.seen.ids.begin()->first;
        const auto & kept = plan.layers.at(il).kept;
        check_ids(il, kept, after);
        double most = 0;
        for (size_t row = 0; row < before_.seen.weights.at(il).size(); ++row) {
            const double stays = probability_of(kept, il, row);
            most               = std::max(most, 1 - stays);
            for (size_t i = 0; i < before_.seen.weights.at(il)[row].size(); ++i) {
                const double expected = before_.seen.weights.at(il)[row][i] / stays;
                require(std::abs(after.seen.weights.at(il)[row][i] - expected) <= 1e-5 * expected,
                        "gates grow otherwise");
            }
        }
        require(most > 1e-3, "nothing went that had any probability");
    }

    // GroveMoE: in the first layer the experts are the same, and llama.cpp weighs the adjugate expert of chunk c by the
    // probability of expert number c, which is another expert now. The second block's rows follow the first's.
    void check_adjugate(const prune::prune_plan & plan, const run_result & after) const {
        const int    il    = before_.seen.ids.begin()->first;
        const auto & kept  = plan.layers.at(il).kept;
        const size_t n_row = after.seen.ids.at(il).size() / 2;
        const auto   chunk = static_cast<int32_t>(plan.shape.experts_per_chunk);
        check_ids(il, kept, after);
        for (size_t row = 0; row < n_row; ++row) {
            const double stays = probability_of(kept, il, row);
            const auto & ids   = after.seen.ids.at(il)[n_row + row];
            for (size_t i = 0; i < ids.size(); ++i) {
                const int32_t number   = kept.at(static_cast<size_t>(ids[i] / chunk));
                const double  expected = before_.seen.probs.at(il)[row][static_cast<size_t>(number)] / stays;
                require(std::abs(after.seen.weights.at(il)[n_row + row][i] - expected) <= 1e-5 * expected,
                        "adjugate experts weigh otherwise");
            }
        }
    }

    void keep_k() {
        const gguf::moe_shape shape = gguf::read_moe_shape(source_.metadata());
        const uint32_t        step  = prune::expert_count_step(shape);
        prune::prune_request  request;
        prune::prune_plan     plan;
        request.criterion = prune::prune_criterion::random;
        request.n_keep    = (std::max(2u, shape.n_expert_used_max()) + step - 1) / step * step;
        if (shape.experts_per_chunk > 1) {
            request.n_keep *= shape.experts_per_chunk;
        }
        if (shape.n_expert_groups > 1) {
            request.n_keep = 2 * shape.n_expert_groups;
        }
        prune(request, "k.gguf", plan);
    }

    const prune_case &     case_;
    const scratch_folder & dir_;
    std::string            arch_, path_;
    gguf::model_file       source_;
    run_result             before_;
};

}  // namespace moescope::test
