// Router logits of Hugging Face's transformers (output_router_logits=True), one array [tokens][experts] per layer:
//
//     numpy.savez("router.npz", top_k=model.config.num_experts_per_tok, input_ids=ids,
//                 **{f"layer_{i}": l.float().numpy() for i, l in enumerate(out.router_logits)})

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <numeric>

#include "core/error.hpp"
#include "io/zip_file.hpp"
#include "logs/arrays/npy.hpp"
#include "logs/engines/built_source.hpp"
#include "logs/engines/engines.hpp"

namespace moescope::logs {

namespace {

constexpr uint64_t most_unpacked = uint64_t{2} << 30;  // bytes in memory; arrays that savez stored stay in the file

// An array, and its memory where it had to be unpacked.
struct member_array {
    std::vector<uint8_t> bytes;
    array_view           values;
};

// The last number in a name: "layer_12.npy" -> 12.
std::optional<int32_t> number_in(const std::string & name) {
    size_t end = name.size();
    while (end > 0 && std::isdigit(static_cast<unsigned char>(name[end - 1])) == 0) {
        --end;
    }
    size_t begin = end;
    while (begin > 0 && std::isdigit(static_cast<unsigned char>(name[begin - 1])) != 0) {
        --begin;
    }
    return begin == end || end - begin > 5 ? std::nullopt : std::optional(std::stoi(name.substr(begin, end - begin)));
}

class router_logits final : public built_source {
public:
    explicit router_logits(const std::string & path) : built_source(path, "router-logits"), zip_(path) {
        for (const io::zip_file::member & m : zip_.members()) {
            take(m);
        }
        if (layers_.empty()) {
            throw error("it holds no array [tokens, experts] per layer")
                .in(path)
                .fix("docs/logs.md says how to save one");
        }
        describe();
    }

protected:
    bool build(uint64_t number, ubatch_buffer & to) override {
        constexpr uint64_t at_once = 256;
        const uint64_t     first = number * at_once, last = std::min(first + at_once, n_tokens_);
        if (first >= last) {
            return false;
        }
        to.set_tokens(last - first);
        for (uint64_t t = first; t < last; ++t) {
            place_token(t, t - first, to);
        }
        to.batch       = static_cast<uint32_t>(number);
        const auto all = blocks();
        size_t     i   = 0;
        for (const auto & [layer, array] : layers_) {
            to.layout.push_back(all[i++]);
            to.add_block(static_cast<uint32_t>(last - first), false);
            for (uint64_t t = first; t < last; ++t) {
                build_row(array.values, t, t - first, to);
            }
        }
        return true;
    }

private:
    void take(const io::zip_file::member & m) {
        member_array        a;
        const std::string   name = m.name.substr(0, m.name.rfind(".npy"));
        const std::string   what = info().path + ": " + m.name;
        span<const uint8_t> bytes;
        if (m.stored) {
            bytes = zip_.stored(m);
        } else {
            a.bytes = zip_.unpack(m, may_unpack_);
            bytes   = {a.bytes.data(), a.bytes.size()};
            may_unpack_ -= bytes.size();
        }
        a.values = read_npy(bytes, what);
        if (name == "top_k") {
            if (a.values.n_elements() != 1 || !(a.values.first() >= 1 && a.values.first() <= 1024)) {
                throw error("top_k is no number of experts").in(info().path);
            }
            k_ = static_cast<uint32_t>(a.values.first());
        } else if (name == "input_ids") {
            input_ids_ = std::move(a);
        } else if (const auto layer = number_in(name); layer && a.values.n_dims() == 2) {
            layers_[*layer] = std::move(a);
        }
    }

    void describe() {
        n_tokens_ = layers_.begin()->second.values.dim(0);
        graph_layout all;
        for (const auto & [layer, a] : layers_) {
            if (a.values.dim(0) != n_tokens_ || a.values.dim(1) == 0 || a.values.dim(1) > uint64_t{most_experts} ||
                k_ > a.values.dim(1) || a.values.is_integer()) {
                throw error("layer " + std::to_string(layer) + " has the shape " + shape_text(a.values))
                    .in(info().path);
            }
            block_layout b;
            b.layer         = layer;
            b.n_expert      = static_cast<uint32_t>(a.values.dim(1));
            b.n_expert_used = k_;
            b.columns       = k_ > 0 ? column::logits | column::ids : column_set(column::logits);
            all.push_back(b);
        }
        set_blocks(std::move(all));
        note(
            k_ > 0
                ? "the ids are those of each row's largest logits: what routers select that have no selection bias and "
                  "no groups"
                : "without top_k in the file nothing is selected: there are logits alone");
        note("transformers number the layers that have a router, from 0");
        const array_view & ids = input_ids_.values;
        if (ids.n_dims() == 0 || ids.n_dims() > 2 || !ids.is_integer() || ids.n_elements() != n_tokens_) {
            input_ids_ = {};
            note("without input_ids [sequences, tokens] in the file, tokens and positions are not known");
        }
    }

    void place_token(uint64_t t, uint64_t at, ubatch_buffer & to) const {
        to.phases[at]          = static_cast<uint8_t>(phase::prefill);
        const array_view & ids = input_ids_.values;
        if (ids.n_dims() == 0) {
            return;
        }
        const uint64_t length = ids.dim(ids.n_dims() - 1), row = t / length, column = t % length;
        const int64_t  id = ids.n_dims() == 1 ? ids.integer(column) : ids.integer(row, column);
        to.token[at]      = id >= 0 && id <= INT32_MAX ? static_cast<int32_t>(id) : -1;
        to.seq[at]        = static_cast<int32_t>(row);
        to.pos[at]        = static_cast<int32_t>(column);
    }

    void build_row(const array_view & logits, uint64_t t, uint64_t row, ubatch_buffer & to) {
        const uint64_t n      = logits.dim(1);
        float *        values = to.values(column_index(column::logits)) + row * n;
        for (uint64_t e = 0; e < n; ++e) {
            values[e] = static_cast<float>(logits.real(t, e));
        }
        order_.resize(k_ > 0 ? n : 0);
        std::iota(order_.begin(), order_.end(), 0u);
        std::partial_sort(order_.begin(), order_.begin() + k_, order_.end(), [&](uint32_t a, uint32_t b) {
            const bool known_a = !std::isnan(values[a]), known_b = !std::isnan(values[b]);
            return known_a != known_b ? known_a : values[a] != values[b] && known_a ? values[a] > values[b] : a < b;
        });
        for (uint32_t r = 0; r < k_; ++r) {
            to.set_id(row * k_ + r, order_[r]);
        }
    }

    io::zip_file                    zip_;
    std::map<int32_t, member_array> layers_;
    member_array                    input_ids_;
    uint32_t                        k_        = 0;
    uint64_t                        n_tokens_ = 0, may_unpack_ = most_unpacked;
    std::vector<uint32_t>           order_;
};

}  // namespace

std::unique_ptr<trace::trace_source> open_router_logits(const std::string & path) {
    return std::make_unique<router_logits>(path);
}

}  // namespace moescope::logs
