#include "make-model/planted_model.hpp"

#include "make-model/architecture.hpp"
#include "make-model/gguf_file.hpp"
#include "make-model/planted_family.hpp"
#include "make-model/random_model.hpp"

#include <algorithm>

namespace moescope::make_model {
namespace {

// Fills the rows of the planted tensors.
class planter {
public:
    explicit planter(const planted_truth & truth)
        : t_(truth),
          o_(truth.options()),
          ffn_norm_(std::string(planted_family_of(o_.arch).ffn_norm) + ".weight") {}

    // False where the tensor is none of the planted ones.
    bool fill(const tensor_spec & tensor, uint32_t row, float * values) const {
        const uint32_t n = static_cast<uint32_t>(tensor.ne[0]);
        std::fill(values, values + n, 0.0f);
        if (tensor.is("token_embd.weight")) {
            values[t_.class_of(row)] = t_.sign_of(row);
            values[t_.ballast_dim()] = t_.ballast(row);
            return true;
        }
        if (tensor.name == "output.weight") {
            fill_output(row, values);
            return true;
        }
        if (tensor.contains("attn_output") || tensor.contains("ffn_") || tensor.is(ffn_norm_) ||
            tensor.contains("exp_probs_b")) {
            return fill_block(tensor, static_cast<uint32_t>(tensor.layer()), row, values, n);
        }
        if (tensor.contains("norm")) {
            std::fill(values, values + n, 1.0f);
            return true;
        }
        return false;
    }

private:
    // Row `token` fires for every token whose successor it is.
    void fill_output(uint32_t token, float * values) const {
        for (uint32_t from = 0; from < std::min(o_.n_vocab, 2 * t_.n_class()); from++) {
            if (t_.successor(from) == static_cast<int32_t>(token)) {
                values[t_.class_of(from)] = t_.sign_of(from);
            }
        }
    }

    bool fill_block(const tensor_spec & tensor, uint32_t il, uint32_t row, float * v, uint32_t n) const {
        const uint32_t unit_expert = row / o_.n_ff_exp;  // gate and up: [n_ff_exp, n_expert] rows
        const uint32_t out_expert = row / o_.n_embd, out_dim = row % o_.n_embd;  // down: [n_embd, n_expert] rows
        if (tensor.contains("attn_output")) {
            return true;  // zero: attention adds nothing
        }
        if (tensor.is(ffn_norm_)) {
            for_each(v, n, [&](uint32_t d) { return t_.norm_weight(il, d); });
        } else if (tensor.is("ffn_gate_inp.weight")) {
            for_each(v, t_.n_class(), [&](uint32_t c) { return t_.router(il, row, c); });
        } else if (tensor.is("ffn_gate_inp.bias")) {
            for_each(v, n, [&](uint32_t e) { return t_.router_bias(il, e); });
        } else if (tensor.contains("exp_probs_b")) {
            for_each(v, n, [&](uint32_t e) { return t_.selection_bias(il, e); });
        } else if (tensor.is("ffn_gate_exps.weight")) {
            v[t_.ballast_dim()] = t_.gate(il, unit_expert);
        } else if (tensor.is("ffn_up_exps.weight")) {
            for_each(v, t_.n_class(), [&](uint32_t c) { return t_.up(il, unit_expert, c); });
        } else if (tensor.is("ffn_down_exps.weight")) {
            std::fill(v, v + n, t_.down(il, out_expert, out_dim));
        } else if (tensor.is("ffn_gate_exps.bias")) {
            std::fill(v, v + n, t_.gate_bias(il, row));
        } else if (tensor.is("ffn_up_exps.bias")) {
            std::fill(v, v + n, t_.up_bias(il, row));
        } else if (tensor.is("ffn_down_exps.bias")) {
            for_each(v, n, [&](uint32_t d) { return t_.down_bias(il, row, d); });
        } else {
            return false;
        }
        return true;
    }

    template <class F>
    static void for_each(float * values, uint32_t n, F && value) {
        for (uint32_t i = 0; i < n; i++) {
            values[i] = value(i);
        }
    }

    const planted_truth &   t_;
    const planted_options & o_;
    std::string             ffn_norm_;
};

}  // namespace

void write_planted_model(const std::string & path, const planted_truth & truth) {
    const planted_options & o = truth.options();
    model_shape             shape;
    shape.arch                = o.arch;
    shape.n_layer             = o.n_layer;
    shape.n_embd              = o.n_embd;
    shape.n_ff                = o.n_ff_exp;  // minimax-m2 takes the width of its experts from here
    shape.n_ff_exp            = o.n_ff_exp;
    shape.n_vocab             = o.n_vocab;
    shape.n_expert            = o.n_expert;
    shape.n_expert_used       = o.n_expert_used;
    const model_layout layout = make_layout(shape);
    const planter      plant(truth);
    const fill_row     rest = random_weights(layout, o.seed);
    write_gguf(path, layout, [&](const tensor_spec & tensor, int64_t row, float * values) {
        if (!plant.fill(tensor, static_cast<uint32_t>(row), values)) {
            rest(tensor, row, values);
        }
    });
}

}  // namespace moescope::make_model
