#include "gguf/imatrix.hpp"

#include <cmath>

#include "core/error.hpp"
#include "gguf/model_file.hpp"
#include "gguf/tensor_name.hpp"
#include "io/path.hpp"

namespace moescope::gguf {

namespace {

const std::string counts_suffix = ".counts";

error no_imatrix(const std::string & what, const std::string & path) {
    return error(what).in(path).fix(
        "an imatrix of an MoE model has them: llama-imatrix -m MODEL -f TEXT -o imatrix.gguf");
}

bool is_expert_matrix(const std::string & base) {
    return base == "ffn_gate_exps" || base == "ffn_up_exps" || base == "ffn_down_exps" || base == "ffn_gate_up_exps";
}

std::vector<uint64_t> read_counts(const model_file & file, const model_file::tensor & t) {
    const model_file::part & part = file.parts()[t.part];
    if (t.type != GGML_TYPE_F32) {
        throw error("the counts '" + t.name + "' are not f32").in(part.file.path());
    }
    std::vector<float> values(t.size / sizeof(float));
    part.file.read_at(part.header.data_begin + t.offset, values.data(), values.size() * sizeof(float));
    std::vector<uint64_t> counts;
    for (const float v : values) {
        if (!(v >= 0 && v < 0x1p63f) || v != std::floor(v)) {
            throw error("the counts '" + t.name + "' are not whole numbers").in(part.file.path());
        }
        counts.push_back(static_cast<uint64_t>(v));
    }
    return counts;
}

}  // namespace

imatrix read_imatrix(const std::string & path) {
    const model_file file(path);
    if (file.metadata().get_string("general.type") != "imatrix") {
        throw no_imatrix("a GGUF file, but not an imatrix with expert counts", path);
    }
    imatrix result;
    result.datasets = file.metadata().get_strings("imatrix.datasets");
    for (const model_file::tensor & t : file.tensors()) {
        const std::string counted = io::without_suffix(t.name, counts_suffix);
        const tensor_name name    = parse_tensor_name(counted);
        const bool        experts = is_expert_matrix(name.base);
        if (counted == t.name || name.layer < 0 || (!experts && name.base != "ffn_gate_inp")) {
            continue;
        }
        imatrix::layer &            l     = result.layers[name.layer];
        const std::vector<uint64_t> count = read_counts(file, t);
        if (!experts) {
            l.rows = count.size() == 1 ? count[0] : 0;
        } else if (l.count.empty()) {
            l.count  = count;
            l.tensor = counted;
        } else if (l.count != count) {
            l.others.push_back(counted);
        }
    }
    for (auto it = result.layers.begin(); it != result.layers.end();) {
        it = it->second.count.size() > 1 ? std::next(it) : result.layers.erase(it);
    }
    if (result.layers.empty()) {
        throw no_imatrix("this imatrix has no expert counts", path);
    }
    return result;
}

}  // namespace moescope::gguf
