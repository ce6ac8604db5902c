// Files of torch.save with counts alone: SGLang's stat and per_pass, ktransformers, Cerebras.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.hpp"
#include "logs/engines/built_source.hpp"
#include "logs/engines/engines.hpp"

namespace moescope::logs {

namespace {

// Counts of one layer after the other; k follows where the rows are known.
class layer_counts {
public:
    // rows: 0 where the file does not say. A layer without any count selects no experts.
    void add(int32_t layer, std::vector<uint64_t> count, uint64_t rows) {
        const uint64_t sum = std::accumulate(count.begin(), count.end(), uint64_t{0});
        if (sum == 0) {
            n_dense_ += 1;
            return;
        }
        block_layout l;
        l.layer    = layer;
        l.n_expert = static_cast<uint32_t>(count.size());
        l.columns  = column::ids;
        expert_counts::block b;
        b.count = std::move(count);
        if (rows > 0 && sum >= rows && sum % rows == 0) {
            l.n_expert_used = static_cast<uint32_t>(sum / rows);
            b.rows          = rows;
        }
        all_.tokens = std::max(all_.tokens, rows);
        all_.layout.push_back(l);
        all_.blocks.push_back(std::move(b));
    }

    std::unique_ptr<trace::trace_source> finish(const std::string & path, const char * format,
                                                std::vector<std::string> notes) {
        if (all_.layout.empty()) {
            throw error("all its counts are 0").in(path);
        }
        if (n_dense_ > 0) {
            notes.push_back(std::to_string(n_dense_) + (n_dense_ == 1 ? " layer has" : " layers have") +
                            " no counts, and count as dense");
        }
        if (all_.layout.front().n_expert_used == 0) {
            notes.push_back("the file does not say how many experts a row selects");
        }
        return std::make_unique<counted_source>(path, format, std::move(all_), std::move(notes));
    }

private:
    expert_counts all_;
    uint64_t      n_dense_ = 0;
};

uint64_t as_count(double v, const std::string & what, const std::string & path) {
    if (!(v >= 0 && v < 1e18 && v == std::floor(v))) {
        throw error(what + " holds " + std::to_string(v) + ", which is no count").in(path);
    }
    return static_cast<uint64_t>(v);
}

void require_shape(const array_view & a, size_t n_dims, const std::string & what, const std::string & path) {
    if (a.n_dims() != n_dims || a.dim(n_dims - 1) == 0 || a.dim(n_dims - 1) > uint64_t{most_experts} ||
        a.n_elements() == 0) {
        throw error(what + " has the shape " + shape_text(a)).in(path);
    }
}

}  // namespace

// logical_count: [steps, layers, experts]
std::unique_ptr<trace::trace_source> open_sglang_counts(const torch_file & file) {
    const std::string what  = "logical_count";
    const array_view  steps = file.tensor(file.root().find(what), what);
    require_shape(steps, 3, what, file.path());
    layer_counts all;
    for (uint64_t l = 0; l < steps.dim(1); ++l) {
        std::vector<uint64_t> count(steps.dim(2));
        for (uint64_t s = 0; s < steps.dim(0); ++s) {
            for (uint64_t e = 0; e < count.size(); ++e) {
                count[e] += as_count(steps.real(s, l, e), what, file.path());
            }
        }
        all.add(static_cast<int32_t>(l), std::move(count), 0);
    }
    return all.finish(file.path(), "sglang-stat", {});
}

// records[].global_physical_count: [layers, physical experts]; last_physical_to_logical_map the same shape.
std::unique_ptr<trace::trace_source> open_sglang_passes(const torch_file & file) {
    const std::string what = "global_physical_count";
    const array_view  logical =
        file.tensor(file.root().find("last_physical_to_logical_map"), "last_physical_to_logical_map");
    require_shape(logical, 2, "last_physical_to_logical_map", file.path());
    int64_t largest = 0;
    for (uint64_t l = 0; l < logical.dim(0); ++l) {
        for (uint64_t p = 0; p < logical.dim(1); ++p) {
            largest = std::max(largest, logical.integer(l, p));
        }
    }
    if (largest >= most_experts) {
        throw error("last_physical_to_logical_map names expert " + std::to_string(largest)).in(file.path());
    }
    std::vector<std::vector<uint64_t>> count(logical.dim(0), std::vector<uint64_t>(static_cast<size_t>(largest) + 1));
    const pickle::ref                  records = file.root().find("records");
    for (size_t i = 0; i < records.size(); ++i) {
        const array_view physical = file.tensor(records.at(i).find(what), what);
        if (physical.shape() != logical.shape()) {
            throw error(what + " has the shape " + shape_text(physical)).in(file.path());
        }
        for (uint64_t l = 0; l < logical.dim(0); ++l) {
            for (uint64_t p = 0; p < logical.dim(1); ++p) {
                const int64_t e = logical.integer(l, p);
                if (e >= 0) {
                    count[l][static_cast<size_t>(e)] += as_count(physical.real(l, p), what, file.path());
                }
            }
        }
    }
    layer_counts all;
    for (size_t l = 0; l < count.size(); ++l) {
        all.add(static_cast<int32_t>(l), std::move(count[l]), 0);
    }
    return all.finish(file.path(), "sglang-per-pass", {});
}

// activation_freq: [layers, experts]
std::unique_ptr<trace::trace_source> open_activation_freq(const torch_file & file) {
    const std::string what = "activation_freq";
    const array_view  freq = file.tensor(file.root().find(what), what);
    require_shape(freq, 2, what, file.path());
    layer_counts all;
    for (uint64_t l = 0; l < freq.dim(0); ++l) {
        std::vector<uint64_t> count(freq.dim(1));
        for (uint64_t e = 0; e < count.size(); ++e) {
            count[e] = as_count(freq.real(l, e), what, file.path());
        }
        all.add(static_cast<int32_t>(l), std::move(count), 0);
    }
    return all.finish(file.path(), "ktransformers", {});
}

// {layer: {total_tokens, expert_frequency [E], …}}
std::unique_ptr<trace::trace_source> open_cerebras(const torch_file & file) {
    const pickle::ref layers = file.root();
    layer_counts      all;
    for (size_t i = 0; i < layers.size(); ++i) {
        const pickle::ref layer = layers.key(i), facts = layers.at(i);
        const std::string what = "expert_frequency of layer " + std::to_string(layer.integer());
        const array_view  freq = file.tensor(facts.find("expert_frequency"), what);
        require_shape(freq, 1, what, file.path());
        std::vector<uint64_t> count(freq.dim(0));
        for (uint64_t e = 0; e < count.size(); ++e) {
            count[e] = as_count(freq.real(e), what, file.path());
        }
        const double tokens = file.number(facts.find("total_tokens")).value_or(0);
        if (!layer.is(pickle::kind::integer) || layer.integer() < 0 || layer.integer() > most_experts) {
            throw error("a layer without a number").in(file.path());
        }
        all.add(static_cast<int32_t>(layer.integer()), std::move(count), as_count(tokens, "total_tokens", file.path()));
    }
    return all.finish(file.path(), "cerebras",
                      {"of these observations only expert_frequency and total_tokens are taken; "
                       "pairwise_expert_frequency holds sums of counts, not co-activations"});
}

std::unique_ptr<trace::trace_source> open_torch(const std::string & path) {
    auto              file = std::make_unique<torch_file>(path);
    const pickle::ref root = file->root();
    if (root.find("logical_count").as_tensor() != nullptr) {
        return open_sglang_counts(*file);
    }
    if (root.find("activation_freq").as_tensor() != nullptr) {
        return open_activation_freq(*file);
    }
    if (const pickle::ref first = root.find("records").at(0); first.find("topk_ids_of_layer").as_tensor() != nullptr) {
        return open_sglang_tokens(std::move(file));
    } else if (first.find("global_physical_count").as_tensor() != nullptr) {
        return open_sglang_passes(*file);
    }
    if (root.is(pickle::kind::dict) && root.key(0).is(pickle::kind::integer) &&
        root.at(0).find("expert_frequency").as_tensor() != nullptr) {
        return open_cerebras(*file);
    }
    throw error("a file of torch.save, but of no recorder that moescope knows")
        .in(path)
        .fix("docs/logs.md lists what it reads");
}

}  // namespace moescope::logs
