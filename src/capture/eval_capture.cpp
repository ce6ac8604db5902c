#include "capture/eval_capture.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "capture/node_name.hpp"
#include "capture/weight_reads.hpp"

namespace moescope::capture {

namespace {

thread_local eval_capture * current = nullptr;

bool original_is(const ggml_tensor * t, const char * name) {
    return t != nullptr && node_name(t->name).base == name;
}

int32_t layer_of_weight(const ggml_tensor * w) {
    return std::strncmp(w->name, "blk.", 4) == 0 ? std::atoi(w->name + 4) : -1;
}

std::string_view without_prefix(std::string_view base) {
    constexpr std::string_view prefix = "ffn_moe_";
    return base.rfind(prefix, 0) == 0 ? base.substr(prefix.size()) : std::string_view();
}

bool one_of(std::string_view what, std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), what) != names.end();
}

std::vector<float> & values_of(std::vector<float> * columns, column c) {
    return columns[column_index(c)];
}

}  // namespace

eval_capture::eval_capture(const ggml_api & api, capture_options options, on_ubatch deliver)
    : api_(api),
      options_(std::move(options)),
      deliver_(std::move(deliver)),
      values_(api) {}

eval_capture * eval_capture::take_current() {
    return std::exchange(current, nullptr);
}

bool eval_capture::eval(ggml_tensor * t, bool ask, void * user_data) {
    auto & self = *static_cast<eval_capture *>(user_data);
    current     = &self;
    try {
        if (ask) {
            return self.asked(t);
        }
        self.observed(t);
    } catch (const std::exception &) {
        self.blocks_.clear();  // out of memory: this ubatch is lost, the host goes on
    }
    return true;
}

bool eval_capture::asked(ggml_tensor * t) {
    if (begins_new_graph(t)) {
        deliver();
    }
    asked_.insert(t);
    read_inputs(t);
    const bool want = wanted(t);
    if (options_.what.access) {
        take_weight_read(t);
    }
    return want;
}

// Without a hook on compute there is no end of graph. A node seen before, an earlier layer, or another row of tokens can
// only belong to the next one.
bool eval_capture::begins_new_graph(const ggml_tensor * t) const {
    if (asked_.count(t) != 0) {
        return true;
    }
    if (blocks_.empty()) {
        return false;
    }
    const node_name name(t->name);
    const bool      earlier = name.is("ffn_moe_topk") && name.il < blocks_.back().layout.layer;
    return earlier || (is_token_lookup(api_, t) && node_name(t->src[0]->name).base == "token_embd.weight");
}

// Inputs are set before the graph runs and may be overwritten while it does.
void eval_capture::read_inputs(ggml_tensor * t) {
    if (!api_.computes(t)) {
        return;
    }
    if (tokens_.empty() && is_token_lookup(api_, t)) {
        tokens_   = values_.integers(t->src[1]);
        n_tokens_ = t->src[1]->ne[0];
    } else if (out_ids_.empty() && picks_outputs(t)) {
        out_ids_ = values_.integers(t->src[1]);
    } else if (api_.is(t, GGML_OP_ROPE) && original_is(t->src[1], "inp_pos") && pos_.empty()) {
        pos_ = values_.integers(t->src[1]);
    }
    for (const ggml_tensor * s : t->src) {
        if (n_tokens_ == 0 && original_is(s, "inp_embd")) {
            n_tokens_ = s->ne[1];
        }
    }
}

bool eval_capture::picks_outputs(const ggml_tensor * t) const {
    return (api_.is(t, GGML_OP_GET_ROWS) && is_out_ids(node_name(t->src[1]->name).base)) ||
           picks_outputs_by_unnamed_list(api_, t, n_tokens_);
}

bool eval_capture::wanted(const ggml_tensor * t) {
    const column_set what = options_.what.columns;
    if (api_.is(t, GGML_OP_MUL_MAT_ID) && t->src[0] != nullptr && is_expert_weight(t->src[0])) {
        const bool fits = in_block_ && blocks_.back().layout.layer == layer_of_weight(t->src[0]);
        if (fits) {
            blocks_.back().layout.n_expert = static_cast<uint32_t>(t->src[0]->ne[2]);
            blocks_.back().executed        = t->src[2];
        }
        const bool executes_others = fits && !node_name(t->src[2]->name).is("ffn_moe_topk");
        const bool norms_here      = what.has(column::norms) && node_name(t->name).is("ffn_moe_down");
        return executes_others || (norms_here && fits);
    }
    if (const ggml_tensor * product = router_product(api_, t)) {
        weight_address_ = product->src[0]->data;
        return options_.layers.has(layer_of_weight(product->src[0])) &&
               (what.has(column::logits) || what.has(column::gate_input) || what.has(column::probs));
    }
    const node_name        name(t->name);
    const std::string_view base = without_prefix(name.base);
    if (name.il < 0 || base.empty() || !options_.layers.has(name.il)) {
        return false;
    }
    return base == "topk" || (base == "probs" && what.has(column::probs)) ||
           (base == "argsort" && what.has(column::selection)) ||
           (one_of(base, {"weights", "weights_softmax", "weights_norm", "weights_scaled"})) ||
           (one_of(base, {"down", "down_scaled", "down_biased"}) && what.has(column::norms)) || base == "weighted";
}

void eval_capture::take_weight_read(const ggml_tensor * t) {
    access_entry e = weight_read(api_, t);
    if (e.sources.empty() || (e.layer >= 0 && !options_.layers.has(e.layer))) {
        return;
    }
    if (!blocks_.empty() && e.by_id() && t->src[2] == blocks_.back().executed) {
        e.block = static_cast<int32_t>(blocks_.size()) - 1;
    }
    reads_.push_back(std::move(e));
}

void eval_capture::observed(ggml_tensor * t) {
    if (const ggml_tensor * product = router_product(api_, t)) {
        const int32_t il = layer_of_weight(product->src[0]);
        scores &      s  = scores_of(il);
        s.logits         = values_.floats(t);
        s.n_expert       = t->ne[0];
        if (t == product) {
            s.gate_input = values_.floats(t->src[1]);
            s.n_embd     = t->src[1]->ne[0];
        }
    }
    const node_name        name(t->name);
    const std::string_view base = without_prefix(name.base);
    if (name.il >= 0 && !base.empty()) {
        observe_scores(t, name.il);
        if (base == "topk") {
            open_block(t, name.il);
            return;
        }
    }
    if (in_block_) {
        observe_in_block(t, name.il >= 0 ? base : std::string_view());
    }
}

void eval_capture::observe_scores(ggml_tensor * t, int32_t il) {
    const std::string_view base = without_prefix(node_name(t->name).base);
    if (base == "probs") {
        scores_of(il).probs    = values_.floats(t);
        scores_of(il).n_expert = t->ne[0];
    } else if (base == "argsort") {
        scores_of(il).selection = values_.floats(t->src[0]);  // intact: the sort does not work in place
        scores_of(il).n_expert  = t->ne[0];
    }
}

eval_capture::scores & eval_capture::scores_of(int32_t il) {
    if (scores_.il != il) {
        scores_    = {};
        scores_.il = il;
    }
    return scores_;
}

void eval_capture::open_block(ggml_tensor * topk, int32_t il) {
    const bool second = !blocks_.empty() && blocks_.back().layout.layer == il;
    seen_block b;
    b.layout.layer         = il;
    b.layout.block         = second ? blocks_.back().layout.block + 1 : 0;
    b.layout.n_expert_used = static_cast<uint32_t>(topk->ne[0]);
    b.layout.columns       = column::ids;
    b.layout.flags         = topk->view_src == nullptr ? block_layout::given_ids : 0u;
    b.n_rows               = topk->ne[1];
    b.ids                  = values_.integers(topk);

    const scores & s                         = scores_of(il);
    b.layout.n_embd                          = static_cast<uint32_t>(s.n_embd);
    values_of(b.columns, column::logits)     = s.logits;
    values_of(b.columns, column::probs)      = s.probs;
    values_of(b.columns, column::selection)  = topk->view_src != nullptr ? s.selection : std::vector<float>();
    values_of(b.columns, column::gate_input) = s.gate_input;
    blocks_.push_back(std::move(b));
    in_block_ = true;
}

void eval_capture::observe_in_block(ggml_tensor * t, std::string_view base) {
    seen_block & b = blocks_.back();
    if (api_.is(t, GGML_OP_MUL_MAT_ID) && t->src[2] != nullptr && !node_name(t->src[2]->name).is("ffn_moe_topk")) {
        b.ids = values_.integers(t->src[2]);  // GroveMoE's second block
        b.layout.flags |= block_layout::ids_repeat;
    }
    if (base == "weights") {
        values_of(b.columns, column::weights)     = values_.floats(t);
        values_of(b.columns, column::weights_raw) = values_of(b.columns, column::weights);
    } else if (base == "weights_softmax" || base == "weights_norm") {
        values_of(b.columns, column::weights) = values_.floats(t);
        b.layout.weight_sum                   = 1;
    } else if (base == "weights_scaled") {
        values_of(b.columns, column::weights) = values_.floats(t);
        float factor;
        std::memcpy(&factor, t->op_params, sizeof(factor));
        b.layout.weight_sum *= factor;
    } else if (one_of(base, {"down", "down_scaled", "down_biased"})) {
        values_of(b.columns, column::norms) = values_.norms(t);
    } else if (base == "weighted" && is_gated_product(api_, t)) {
        const bool input_gated = api_.is(t->src[0], GGML_OP_REPEAT);
        b.layout.flags |= input_gated ? block_layout::norms_gated : 0u;
        in_block_ = input_gated;  // there the expert outputs are still to come
    }
}

void eval_capture::end(bool success) {
    if (!success) {
        blocks_.clear();
    }
    deliver();
}

void eval_capture::deliver() {
    ubatch_buffer u;
    u.set_tokens(static_cast<size_t>(n_tokens_));
    std::copy(tokens_.begin(), tokens_.end(), u.token.begin());
    if (pos_.size() >= u.pos.size()) {
        std::copy_n(pos_.begin(), u.pos.size(), u.pos.begin());
    }
    for (const seen_block & b : blocks_) {
        u.layout.push_back(lay_out(b));
    }
    for (const seen_block & b : blocks_) {
        fill_block(u, b);
    }
    const bool any = !blocks_.empty();
    start_over();
    if (any) {
        deliver_(*this, u);
    }
    reads_.clear();
}

// The layout of a block's rows, for what is wanted and came by.
block_layout eval_capture::lay_out(const seen_block & b) const {
    block_layout l      = b.layout;
    const bool   chunks = l.has(block_layout::ids_repeat);
    l.flags |= mtp_.flag_of(l.layer);
    for (size_t i = 0; i < n_float_columns; ++i) {
        const bool scores_of_experts = one_of(to_string(float_columns[i]), {"logits", "probs", "selection"});
        const bool fits              = !b.columns[i].empty() || b.n_rows == 0;
        if (fits && options_.what.columns.has(float_columns[i]) && !(chunks && scores_of_experts)) {
            l.columns = l.columns | float_columns[i];
        }
    }
    return l;
}

void eval_capture::fill_block(ubatch_buffer & u, const seen_block & b) const {
    const auto n_rows   = static_cast<uint32_t>(b.n_rows);
    const bool identity = b.n_rows == n_tokens_;
    u.add_block(n_rows, !identity);
    for (uint32_t r = 0; !identity && r < n_rows; ++r) {
        const bool known  = out_ids_.size() == n_rows && out_ids_[r] >= 0 && out_ids_[r] < n_tokens_;
        u.row_tokens()[r] = known ? out_ids_[r] : -1;
    }
    for (size_t i = 0; i < b.ids.size(); ++i) {
        u.set_id(i, static_cast<uint32_t>(b.ids[i]));
    }
    for (size_t i = 0; i < n_float_columns; ++i) {
        const size_t width = b.layout.width(float_columns[i]);
        if (float * const to = u.values(i); to != nullptr && b.columns[i].size() == n_rows * width) {
            std::copy(b.columns[i].begin(), b.columns[i].end(), to);
        } else if (to != nullptr) {
            pick_rows(u, b.columns[i], n_rows, width, to);
        }
    }
}

// The values are of all tokens; this block's rows were chosen later.
void eval_capture::pick_rows(ubatch_buffer & u, const std::vector<float> & of_all_tokens, uint32_t n_rows, size_t width,
                             float * to) const {
    const bool there = of_all_tokens.size() == size_t(n_tokens_) * width;
    for (uint32_t r = 0; r < n_rows; ++r) {
        if (there && u.row_tokens()[r] >= 0) {
            std::copy_n(of_all_tokens.data() + size_t(u.row_tokens()[r]) * width, width, to + r * width);
        } else {
            std::fill_n(to + r * width, width, NAN);
        }
    }
}

// For the next graph. Its reads go with what is delivered.
void eval_capture::start_over() {
    blocks_.clear();
    asked_.clear();
    tokens_.clear();
    pos_.clear();
    out_ids_.clear();
    n_tokens_ = 0;
    scores_   = {};
    in_block_ = false;
}

}  // namespace moescope::capture
