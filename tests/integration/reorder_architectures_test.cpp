// Reordering every MoE architecture that llama.cpp has, with llama.cpp as the judge. Each model gets its experts in an order
// drawn at random, as far as its router leaves them free:
//   routing   the same experts under their new numbers, in the same order of rank
//   logits    bit for bit. A softmax over all experts is a sum in the order of their numbers, so its last bit may change: there
//             the probabilities must agree to that, and the logits to what follows of it
//   inverse   the first file, byte for byte
// Each case runs in a child process, so that an assertion in llama.cpp names the architecture and ends nothing else.

#include <filesystem>
#include <fstream>
#include <random>

#include <gtest/gtest.h>

#include "make-model/architecture.hpp"
#include "make-model/child_process.hpp"
#include "make-model/variants.hpp"
#include "reorder/expert_order.hpp"
#include "reorder/writer.hpp"
#include "support/routed_run.hpp"
#include "support/scratch_folder.hpp"

using namespace moescope;
using namespace moescope::test;

namespace {

std::string file_bytes(const std::string & path) {
    std::string bytes(std::filesystem::file_size(path), '\0');
    std::ifstream(path, std::ios::binary).read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return bytes;
}

// Old ids by new place, drawn within the cells that may not be left.
std::vector<int32_t> drawn_order(const gguf::moe_shape & shape, uint64_t seed) {
    const std::vector<uint32_t>              cells = reorder::interchangeable_places(shape);
    std::map<uint32_t, std::vector<int32_t>> places;
    for (size_t e = 0; e < cells.size(); ++e) {
        places[cells[e]].push_back(static_cast<int32_t>(e));
    }
    std::mt19937_64      random(seed);
    std::vector<int32_t> order(cells.size());
    for (const auto & [cell, at] : places) {
        std::vector<int32_t> ids = at;
        std::shuffle(ids.begin(), ids.end(), random);
        for (size_t i = 0; i < at.size(); ++i) {
            order[static_cast<size_t>(at[i])] = ids[i];
        }
    }
    return order;
}

class reordered_case {
public:
    reordered_case(const make_model::random_options & o, const scratch_folder & dir) : dir_(dir), arch_(o.shape.arch) {
        write_random_model(dir_ / "source.gguf", o);
    }

    std::string check() {
        reorder_and_back();
        const run_result before = run(dir_ / "source.gguf", arch_, 8), after = run(dir_ / "reordered.gguf", arch_, 8);
        check_routing(before, after);
        return check_logits(before, after);
    }

private:
    void reorder_and_back() {
        const gguf::model_file source(dir_ / "source.gguf");
        const gguf::moe_shape  shape = gguf::read_moe_shape(source.metadata());
        for (const auto & [il, layer] : reorder::plan_reorder(source, {}).pruning.layers) {
            orders_[il] = drawn_order(shape, 77 + static_cast<uint64_t>(il));
        }
        reorder::write_reordered(source, reorder::plan_reorder(source, orders_), {"a.moetrace", false},
                                 dir_ / "reordered.gguf");
        const gguf::model_file reordered(dir_ / "reordered.gguf");
        require(gguf::check_model_layout(reordered.path()).empty(), "the reordered file has layout problems");
        require(file_bytes(reordered.path()) != file_bytes(source.path()), "nothing was reordered");
        reorder::write_reordered(reordered, reorder::plan_inverse(reordered), {"", true}, dir_ / "back.gguf");
        require(file_bytes(dir_ / "back.gguf") == file_bytes(source.path()), "the inverse gives another file");
    }

    void check_routing(const run_result & before, const run_result & after) const {
        // Refact's graph in llama.cpp runs no experts, although its files may have some.
        require(before.seen.ids.size() == after.seen.ids.size() && before.seen.ids.empty() == (arch_ == "refact"),
                "layers are gone");
        for (const auto & [il, rows] : after.seen.ids) {
            const rows_of_ids & was = before.seen.ids.at(il);
            for (size_t r = 0; r < rows.size(); ++r) {
                for (size_t i = 0; i < rows[r].size(); ++i) {
                    require(orders_.at(il).at(static_cast<size_t>(rows[r][i])) == was[r][i],
                            "layer " + std::to_string(il) + " selects other experts");
                }
            }
        }
    }

    std::string check_logits(const run_result & before, const run_result & after) const {
        if (before.outputs == after.outputs) {
            return "bit for bit";
        }
        double off  = 0;
        bool   sums = false;  // probabilities of which one sum is behind all
        for (const auto & [il, rows] : before.seen.probs) {
            for (size_t r = 0; r < rows.size(); ++r) {
                double sum = 0;
                for (size_t e = 0; e < rows[r].size(); ++e) {
                    const double was = double(rows[r][static_cast<size_t>(orders_.at(il)[e])]);
                    sum += was;
                    if (il == before.seen.probs.begin()->first) {  // where the input is the same
                        off = std::max(off, std::abs(double(after.seen.probs.at(il)[r][e]) - was) / was);
                    }
                }
                sums = sums || std::abs(sum - 1) < 1e-4;
            }
        }
        require(sums, "logits differ although no probabilities are normalised over all experts");
        require(off < 4e-7, "probabilities differ by more than their last bits: " + std::to_string(off));
        double worst = 0, largest = 1;
        for (size_t i = 0; i < before.outputs.size(); ++i) {
            worst   = std::max(worst, std::abs(double(before.outputs[i]) - double(after.outputs[i])));
            largest = std::max(largest, std::abs(double(before.outputs[i])));
        }
        require(worst <= 2e-3 * largest, "logits differ by " + std::to_string(worst));
        return "softmax over all experts: within " + std::to_string(worst / largest);
    }

    const scratch_folder & dir_;
    std::string            arch_;
    reorder::expert_orders orders_;
};

std::string error_of(const make_model::random_options & o, std::string & how) {
    const scratch_folder dir;
    const auto           result =
        make_model::run_in_child([&](const make_model::send_fn & send) { send(reordered_case(o, dir).check()); });
    how = result.output;
    return result.error;
}

TEST(reorder, every_architecture) {
    int n_reordered = 0, n_exact = 0;
    for (const std::string & arch : make_model::moe_architectures()) {
        make_model::random_options o;
        o.shape.arch          = arch;
        o.shape.n_expert      = 16;
        o.shape.n_expert_used = 2;
        std::string       how;
        const std::string what = error_of(o, how);
        EXPECT_EQ(what, "") << arch;
        n_reordered += what.empty();
        n_exact += how == "bit for bit";
        std::printf("  %-18s %s\n", arch.c_str(), what.empty() ? how.c_str() : what.c_str());
    }
    std::printf("%d architectures reordered and run, %d of them bit for bit\n", n_reordered, n_exact);
    EXPECT_GE(n_reordered, 40);
    EXPECT_GE(n_exact, 20);
}

// Groups, chunks, hash tables, fused gate and up, biases, scales, MTP blocks, top-k by layer, quantised types.
TEST(reorder, every_variant) {
    for (const make_model::variant & v : make_model::variants()) {
        std::string       how;
        const std::string what = error_of(v.options, how);
        EXPECT_EQ(what, "") << v.name;
        std::printf("  %-26s %s\n", v.name.c_str(), what.empty() ? how.c_str() : what.c_str());
    }
}

}  // namespace
