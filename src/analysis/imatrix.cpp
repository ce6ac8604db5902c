#include "analysis/imatrix.hpp"

#include <cmath>
#include <fstream>
#include <map>
#include <numeric>

#include "core/error.hpp"
#include "gguf/model_file.hpp"
#include "gguf/tensor_name.hpp"

namespace moescope::analysis {

namespace {

// imatrix counts in f32, which holds every whole number up to here.
constexpr double f32_exact = 16'777'216;

struct layer_counts {
    std::string         from;      // the tensor
    std::vector<double> count;     // [n_expert]
    double              rows = 0;  // of the router; 0: not in the file
};

std::vector<double> read_counts(const gguf::model_file & file, const gguf::model_file::tensor & t) {
    const auto &       part = file.parts()[t.part];
    const int64_t      n    = t.ne[0] * t.ne[1] * t.ne[2] * t.ne[3];
    std::vector<float> values(static_cast<size_t>(n));
    if (t.type != GGML_TYPE_F32) {
        throw error("the counts '" + t.name + "' are not f32").in(part.file.path());
    }
    part.file.read_at(part.header.data_begin + t.offset, values.data(), values.size() * sizeof(float));
    for (const float v : values) {
        if (!(v >= 0) || v != std::floor(v)) {
            throw error("the counts '" + t.name + "' are not whole numbers").in(part.file.path());
        }
    }
    return {values.begin(), values.end()};
}

// "blk.3.ffn_up_exps.weight.counts" -> the name without ".counts"; empty for other tensors.
std::string counted_tensor(const std::string & name) {
    static const std::string suffix = ".counts";
    const bool               counts =
        name.size() > suffix.size() && name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
    return counts ? name.substr(0, name.size() - suffix.size()) : "";
}

void add_layer(imatrix_counts & result, int32_t layer, const layer_counts & l) {
    block_layout b;
    b.layer    = layer;
    b.n_expert = static_cast<uint32_t>(l.count.size());
    b.columns  = column::ids;
    expert_counts::block block;
    for (const double c : l.count) {
        block.count.push_back(static_cast<uint64_t>(c));
    }
    const double sum = std::accumulate(l.count.begin(), l.count.end(), 0.0);
    if (l.rows > 0 && sum >= l.rows && std::fmod(sum, l.rows) == 0) {
        b.n_expert_used = static_cast<uint32_t>(sum / l.rows);
        block.rows      = static_cast<uint64_t>(l.rows);
    }
    result.counts.tokens = std::max(result.counts.tokens, static_cast<uint64_t>(l.rows));
    result.counts.layout.push_back(b);
    result.counts.blocks.push_back(std::move(block));
}

}  // namespace

bool looks_like_gguf(const std::string & path) {
    char          magic[4] = {};
    std::ifstream in(path, std::ios::binary);
    return in.read(magic, sizeof(magic)) && std::string(magic, sizeof(magic)) == "GGUF";
}

imatrix_counts read_imatrix_counts(const std::string & path) {
    const gguf::model_file          file(path);
    imatrix_counts                  result;
    std::map<int32_t, layer_counts> layers;
    bool                            rounded = false;
    result.datasets                         = file.metadata().get_strings("imatrix.datasets");
    for (const gguf::model_file::tensor & t : file.tensors()) {
        const std::string       counted = counted_tensor(t.name);
        const gguf::tensor_name name    = gguf::parse_tensor_name(counted);
        const bool              experts = name.base == "ffn_up_exps" || name.base == "ffn_gate_exps" ||
                             name.base == "ffn_down_exps" || name.base == "ffn_gate_up_exps";
        if (counted.empty() || name.layer < 0 || (!experts && name.base != "ffn_gate_inp")) {
            continue;
        }
        layer_counts &            l     = layers[name.layer];
        const std::vector<double> count = read_counts(file, t);
        if (!experts) {
            l.rows = count.size() == 1 ? count[0] : 0;
            continue;
        }
        for (const double c : count) {
            rounded = rounded || c >= f32_exact;
        }
        if (l.count.empty()) {
            l.count = count;
            l.from  = counted;
        } else if (l.count != count) {
            result.notes.push_back("the counts of " + counted + " differ from those of " + l.from +
                                   ", which are shown");
        }
    }
    for (const auto & [layer, l] : layers) {
        if (l.count.size() > 1) {
            add_layer(result, layer, l);
        }
    }
    if (result.counts.layout.empty()) {
        throw error("no counts of experts in this GGUF file")
            .in(path)
            .fix("an imatrix of a MoE model has them: llama-imatrix -m MODEL -f TEXT -o imatrix.gguf");
    }
    if (rounded) {
        result.notes.push_back("counts of 16,777,216 and more are rounded: imatrix keeps them in single precision");
    }
    return result;
}

}  // namespace moescope::analysis
