// Pruning every MoE architecture that llama.cpp has, with llama.cpp as the judge:
//   keep all                  the same tensors, byte for byte, and the same logits, bit for bit
//   keep what a prompt uses   the same experts under their new numbers; the same logits where gates do not depend on the
//                             experts that went, and gates grown by the expected factor where they do
//   keep k                    loads and runs, and never names an expert that is not there
// Each case runs in a child process, so that an assertion in llama.cpp names the architecture and ends nothing else.

#include "core/error.hpp"
#include "gguf/expert_choice.hpp"
#include "gguf/memory_map.hpp"
#include "gguf/prune_plan.hpp"
#include "gguf/prune_writer.hpp"
#include "gguf/router_kind.hpp"
#include "llama.h"
#include "make-model/architecture.hpp"
#include "make-model/child_process.hpp"
#include "make-model/random_model.hpp"
#include "make-model/variants.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <stdexcept>
#include <unistd.h>

using namespace moescope;

namespace {

struct scratch_dir {
    std::string path;
    explicit scratch_dir(const std::string & name)
        : path((std::filesystem::temp_directory_path() / ("prune-" + name + "." + std::to_string(::getpid()))).string()) {
        std::filesystem::create_directories(path);
    }
    ~scratch_dir() { std::filesystem::remove_all(path); }
    std::string operator/(const std::string & name) const { return path + "/" + name; }
};

void require(bool holds, const std::string & what) {
    if (!holds) {
        throw std::runtime_error(what);
    }
}

using rows_of_ids    = std::vector<std::vector<int32_t>>;
using rows_of_values = std::vector<std::vector<float>>;

// What llama.cpp's graph says on the way: selected ids, probabilities and raw gates, row by row, with their strides.
// GroveMoE has two blocks under one layer; the second repeats the first's selection and its rows follow the first's.
struct observer {
    std::map<int, rows_of_ids>    ids;
    std::map<int, rows_of_values> probs, selection, weights;

    static const char * tail(const char * name, const char * base) {   // of "base-<digits>", else null
        const size_t n = std::strlen(base);
        return std::strncmp(name, base, n) == 0 && name[n] == '-' && std::strspn(name + n + 1, "0123456789") == std::strlen(name + n + 1)
                   ? name + n + 1 : nullptr;
    }
    static bool callback(ggml_tensor * t, bool ask, void * data) {
        auto *                              self  = static_cast<observer *>(data);
        std::map<int, rows_of_values> *     maps[] = {&self->probs, &self->selection, &self->weights};
        constexpr const char *              bases[] = {"ffn_moe_probs", "ffn_moe_probs_biased", "ffn_moe_weights"};
        if (const char * il = tail(t->name, "ffn_moe_topk")) {
            if (!ask) {
                append(self->ids[std::stoi(il)], *t, t->ne[0], t->nb[0], t->ne[1], t->nb[1]);
            }
            return true;
        }
        for (int i = 0; i < 3; ++i) {
            if (const char * il = tail(t->name, bases[i])) {
                const bool gates = i == 2;   // [1, k, n_tokens]; the others [n_expert, n_tokens]
                if (!ask) {
                    append((*maps[i])[std::stoi(il)], *t, t->ne[gates], t->nb[gates], t->ne[1 + gates], t->nb[1 + gates]);
                }
                return true;
            }
        }
        return false;
    }
    template <class T>
    static void append(std::vector<std::vector<T>> & rows, const ggml_tensor & t, int64_t n, size_t stride, int64_t n_row,
                       size_t row_stride) {
        for (int64_t r = 0; r < n_row; ++r) {
            rows.emplace_back(static_cast<size_t>(n));
            for (int64_t i = 0; i < n; ++i) {
                std::memcpy(&rows.back()[static_cast<size_t>(i)],
                            static_cast<const char *>(t.data) + static_cast<size_t>(r) * row_stride + static_cast<size_t>(i) * stride,
                            sizeof(T));
            }
        }
    }
};

struct run_result {
    observer           seen;
    std::vector<float> outputs;   // [n_token][n_vocab or n_embd]
};

bool gives_embeddings(const std::string & arch) { return arch == "llama-embed" || arch == "nomic-bert-moe"; }

run_result run(const std::string & path, const std::string & arch, int n_token) {
    llama_model_params mparams = llama_model_default_params();
    mparams.use_extra_bufts    = false;
    llama_model * model        = llama_model_load_from_file(path.c_str(), mparams);
    require(model != nullptr, "does not load: " + path);
    run_result           result;
    llama_context_params cparams = llama_context_default_params();
    cparams.n_ctx                = 256;
    cparams.n_threads = cparams.n_threads_batch = 1;
    cparams.type_k = cparams.type_v = GGML_TYPE_F32;   // F16 would turn the last bit of a gate into 1e-3 of a key
    cparams.flash_attn_type   = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    cparams.embeddings        = gives_embeddings(arch);
    cparams.pooling_type      = LLAMA_POOLING_TYPE_NONE;
    cparams.cb_eval           = observer::callback;
    cparams.cb_eval_user_data = &result.seen;
    llama_context * ctx       = llama_init_from_model(model, cparams);
    require(ctx != nullptr, "no context");
    llama_batch batch = llama_batch_init(n_token, 0, 1);
    for (int i = 0; i < n_token; ++i) {
        batch.token[i]     = 'a' + 7 * i;
        batch.pos[i]       = i;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i]    = true;
    }
    batch.n_tokens = n_token;
    require(llama_decode(ctx, batch) == 0, "llama_decode fails");
    const int n_value = gives_embeddings(arch) ? llama_model_n_embd(model) : llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (int i = 0; i < n_token; ++i) {
        const float * values = gives_embeddings(arch) ? llama_get_embeddings_ith(ctx, i) : llama_get_logits_ith(ctx, i);
        result.outputs.insert(result.outputs.end(), values, values + n_value);
    }
    require(std::all_of(result.outputs.begin(), result.outputs.end(), [](float v) { return std::isfinite(v); }), "not finite");
    llama_batch_free(batch);
    llama_free(ctx);
    llama_model_free(model);
    return result;
}

struct prune_case {
    std::string                name;
    make_model::random_options options;
    int                        n_token = 5;
};

// What was seen in the cases of one architecture, for the count at the end.
class checked_case {
public:
    checked_case(const prune_case & c, const scratch_dir & dir)
        : case_(c), dir_(dir), arch_(c.options.shape.arch), source_(prepare()), before_(run(source_.path(), arch_, c.n_token)) {}

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
    run_result prune(const prune_request & request, const char * file, prune_plan & plan) {
        plan = plan_prune(source_, request);
        write_pruned(source_, plan, {criterion_name(request.criterion), "", request.seed}, dir_ / file);
        require(check_model_layout(dir_ / file).empty(), "the pruned file has layout problems");
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
        prune_request request;
        prune_plan    plan;
        request.criterion      = prune_criterion::random;
        request.n_keep         = read_moe_shape(source_.metadata()).n_expert;
        const run_result after = prune(request, "all.gguf", plan);
        const model_file pruned(dir_ / "all.gguf");
        require(pruned.tensors().size() == source_.tensors().size(), "another number of tensors");
        for (size_t i = 0; i < pruned.tensors().size(); ++i) {
            require(bytes_of(pruned, i) == bytes_of(source_, i), "another content of " + pruned.tensors()[i].name);
        }
        require(after.outputs == before_.outputs, "keeping all changes the logits");
        require(after.seen.ids == before_.seen.ids, "keeping all changes the routing");
    }

    static std::vector<char> bytes_of(const model_file & m, size_t i) {
        const auto &      t = m.tensors()[i];
        std::vector<char> bytes(t.size);
        m.parts()[t.part].file.read_at(m.parts()[t.part].header.data_begin + t.offset, bytes.data(), bytes.size());
        return bytes;
    }

    // Experts that must stay in a layer so that the prompt is routed as before: the selected ones, and with groups the
    // best two of each group, by which it is rated.
    std::set<int32_t> needed(int il, const moe_shape & shape) const {
        std::set<int32_t> ids;
        const auto        it = before_.seen.ids.find(il);
        for (const auto & row : it == before_.seen.ids.end() ? rows_of_ids{} : it->second) {
            ids.insert(row.begin(), row.end());
        }
        if (shape.n_expert_groups > 1) {
            const auto & scores = before_.seen.selection.count(il) ? before_.seen.selection : before_.seen.probs;
            const int32_t size  = static_cast<int32_t>(shape.n_expert / shape.n_expert_groups);
            const auto    rows  = scores.find(il);
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
    prune_request request_for_used() const {
        const moe_shape shape = read_moe_shape(source_.metadata());
        prune_request   request;
        request.criterion = prune_criterion::random;
        for (int il = 0; il < static_cast<int>(shape.n_layer); ++il) {
            for (const int32_t id : needed(il, shape)) {
                request.protect[il].push_back(id);
            }
        }
        const uint32_t step = expert_count_step(shape);
        for (request.n_keep = step; request.n_keep < shape.n_expert; request.n_keep += step) {
            try {
                plan_prune(source_, request);
                break;
            } catch (const error &) {   // too few for what is protected
            }
        }
        require(request.n_keep < shape.n_expert, "the prompt uses all experts: nothing can go");
        return request;
    }

    std::string keep_what_is_used() {
        prune_plan       plan;
        const run_result after = prune(request_for_used(), "used.gguf", plan);
        const auto &     md    = source_.metadata();
        const bool       grows = find_router_effect(md, arch_) == router_effect::scales_gates;
        const bool       bias  = source_.find("blk." + std::to_string(plan.layers.begin()->first) + ".exp_probs_b.bias") != nullptr;
        const std::string how  = std::to_string(plan.n_keep) + " of " + std::to_string(plan.shape.n_expert);
        if (adds_bias_to_softmax(md, arch_, bias)) {
            require(!plan.warnings.empty(), "no warning of the bias");
            return how + ", runs (bias added to a softmax)";
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
            require(before_.seen.ids.count(il) == after.seen.ids.count(il), "routing of layer " + std::to_string(il) + " is gone");
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

    // Softmax over all experts: in the first MoE layer, where the input is still the same, a token's gates grow by
    // 1 / (1 - the probability of those that went).
    void check_growth(const prune_plan & plan, const run_result & after) const {
        const int    il   = before_.seen.ids.begin()->first;
        const auto & kept = plan.layers.at(il).kept;
        check_ids(il, kept, after);
        double most = 0;
        for (size_t row = 0; row < before_.seen.weights.at(il).size(); ++row) {
            double stays = 0;
            for (const int32_t id : kept) {
                stays += before_.seen.probs.at(il)[row][static_cast<size_t>(id)];
            }
            most = std::max(most, 1 - stays);
            for (size_t i = 0; i < before_.seen.weights.at(il)[row].size(); ++i) {
                const double expected = before_.seen.weights.at(il)[row][i] / stays;
                require(std::abs(after.seen.weights.at(il)[row][i] - expected) <= 1e-5 * expected, "gates grow otherwise");
            }
        }
        require(most > 1e-3, "nothing went that had any probability");
    }

    // GroveMoE: in the first layer the experts are the same, and llama.cpp weighs the adjugate expert of chunk c by the
    // probability of expert number c, which is another expert now. The second block's rows follow the first's.
    void check_adjugate(const prune_plan & plan, const run_result & after) const {
        const int    il     = before_.seen.ids.begin()->first;
        const auto & kept   = plan.layers.at(il).kept;
        const size_t n_row  = after.seen.ids.at(il).size() / 2;
        const auto   chunk  = static_cast<int32_t>(plan.shape.experts_per_chunk);
        check_ids(il, kept, after);
        for (size_t row = 0; row < n_row; ++row) {
            double stays = 0;
            for (const int32_t id : kept) {
                stays += before_.seen.probs.at(il)[row][static_cast<size_t>(id)];
            }
            const auto & ids = after.seen.ids.at(il)[n_row + row];
            for (size_t i = 0; i < ids.size(); ++i) {
                const int32_t number   = kept.at(static_cast<size_t>(ids[i] / chunk));
                const double  expected = before_.seen.probs.at(il)[row][static_cast<size_t>(number)] / stays;
                require(std::abs(after.seen.weights.at(il)[n_row + row][i] - expected) <= 1e-5 * expected, "adjugate experts weigh otherwise");
            }
        }
    }

    void keep_k() {
        const moe_shape shape = read_moe_shape(source_.metadata());
        const uint32_t  step  = expert_count_step(shape);
        prune_request   request;
        prune_plan      plan;
        request.criterion = prune_criterion::random;
        request.n_keep    = (std::max(2u, shape.n_expert_used_max()) + step - 1) / step * step;
        if (shape.experts_per_chunk > 1) {
            request.n_keep *= shape.experts_per_chunk;
        }
        if (shape.n_expert_groups > 1) {
            request.n_keep = 2 * shape.n_expert_groups;
        }
        prune(request, "k.gguf", plan);
    }

    const prune_case &  case_;
    const scratch_dir & dir_;
    std::string         arch_, path_;
    model_file          source_;
    run_result          before_;
};

make_model::random_options options_for(const std::string & arch) {
    make_model::random_options o;
    o.shape.arch          = arch;
    o.shape.n_expert      = 16;
    o.shape.n_expert_used = 2;
    return o;
}

std::string error_of(const prune_case & c, std::string & how) {
    const scratch_dir dir(c.name);
    const auto        result = make_model::run_in_child([&](const make_model::send_fn & send) {
        send(checked_case(c, dir).check());
    });
    how = result.output;
    return result.error;
}

TEST(prune, every_architecture) {
    int n_pruned = 0;
    for (const std::string & arch : make_model::moe_architectures()) {
        std::string       how;
        const std::string what = error_of({arch, options_for(arch)}, how);
        EXPECT_EQ(what, "") << arch;
        n_pruned += what.empty() ? 1 : 0;
        std::printf("  %-18s %s\n", arch.c_str(), what.empty() ? how.c_str() : what.c_str());
    }
    std::printf("%d architectures pruned and run\n", n_pruned);
    EXPECT_GE(n_pruned, 40);
}

// Groups, chunks, hash tables, fused gate and up, biases, scales, MTP blocks, top-k by layer, quantised types.
// With 32 experts where a variant has fewer, so that a short prompt leaves some of them unused.
TEST(prune, every_variant) {
    for (make_model::variant v : make_model::variants()) {
        v.options.shape.n_expert = std::max(v.options.shape.n_expert, 32u);
        std::string       how;
        const std::string what = error_of({v.name, v.options, 2}, how);
        EXPECT_EQ(what, "") << v.name;
        std::printf("  %-26s %s\n", v.name.c_str(), what.empty() ? how.c_str() : what.c_str());
    }
}

}  // namespace
