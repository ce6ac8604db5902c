// SGLang's expert distribution recorder, per_token: one record per forward pass with the ids of all layers, and the map
// from physical experts, which it records, to those of the model.

#include "core/error.hpp"
#include "logs/engines/built_source.hpp"
#include "logs/engines/engines.hpp"
#include "logs/engines/id_cube.hpp"

namespace moescope::logs {

namespace {

constexpr int64_t forward_mode_decode = 2;  // ForwardMode.DECODE

// A list of numbers, or a tensor of them; -1 where there is none of this index.
class numbers {
public:
    numbers(const torch_file & file, pickle::ref value) : list_(value) {
        if (value.as_tensor() != nullptr) {
            tensor_ = file.tensor(value, "a list of a record");
            if (tensor_->n_dims() != 1 || !tensor_->is_integer()) {
                tensor_.reset();
            }
        }
    }
    int32_t at(uint64_t i) const {
        const int64_t v = tensor_ && i < tensor_->dim(0)          ? tensor_->integer(i)
                          : list_.at(i).is(pickle::kind::integer) ? list_.at(i).integer()
                                                                  : -1;
        return v >= 0 && v <= INT32_MAX ? static_cast<int32_t>(v) : -1;
    }

private:
    pickle::ref               list_;
    std::optional<array_view> tensor_;
};

class sglang_tokens final : public built_source {
public:
    explicit sglang_tokens(std::unique_ptr<torch_file> file)
        : built_source(file->path(), "sglang-per-token"),
          file_(std::move(file)),
          records_(file_->root().find("records")) {
        read_map();
        cube_survey survey;
        for (size_t i = 0; i < records_.size(); ++i) {
            const id_cube ids = cube(i);
            check_map(ids);
            survey.add(ids, file_->path());
        }
        set_blocks(logical_blocks(survey.blocks()));
        for (const std::string & text : survey.notes()) {
            note(text);
        }
        note("SGLang does not say which tokens of several forward passes belong to one sequence");
    }

protected:
    bool build(uint64_t number, ubatch_buffer & to) override {
        if (number == 0) {
            record_ = 0;
        }
        while (record_ < records_.size() && cube(record_).n_tokens() == 0) {
            ++record_;
        }
        if (record_ == records_.size()) {
            return false;
        }
        const pickle::ref record = records_.at(record_);
        const id_cube     ids    = cube(record_++);
        const numbers     token(*file_, record.find("input_ids")), position(*file_, record.find("positions"));
        const bool        decode = record.find("forward_mode").integer() == forward_mode_decode;
        to.set_tokens(ids.n_tokens());
        for (uint64_t t = 0; t < ids.n_tokens(); ++t) {
            to.token[t]  = token.at(t);
            to.pos[t]    = position.at(t);
            to.phases[t] = static_cast<uint8_t>(decode ? phase::decode : phase::prefill);
        }
        to.batch = static_cast<uint32_t>(number);
        build_rows(ids, 0, ids.n_tokens(), blocks(), logical_ ? &*logical_ : nullptr, to);
        return true;
    }

private:
    id_cube cube(size_t record) const {
        return {file_->tensor(records_.at(record).find("topk_ids_of_layer"), "topk_ids_of_layer"),
                id_cube::order::layers_first, file_->path() + ": topk_ids_of_layer"};
    }

    void read_map() {
        const pickle::ref map = file_->root().find("last_physical_to_logical_map");
        if (map.as_tensor() == nullptr) {
            note("the file has no map from physical to logical experts: its ids are taken as they are");
            return;
        }
        logical_ = file_->tensor(map, "last_physical_to_logical_map");
        if (logical_->n_dims() != 2 || !logical_->is_integer()) {
            throw error("last_physical_to_logical_map has the shape " + shape_text(*logical_)).in(file_->path());
        }
        for (uint64_t l = 0; l < logical_->dim(0); ++l) {
            for (uint64_t p = 0; p < logical_->dim(1); ++p) {
                const int64_t e = logical_->integer(l, p);
                if (e < 0 || e >= most_experts) {
                    throw error("last_physical_to_logical_map names expert " + std::to_string(e)).in(file_->path());
                }
                n_logical_ = std::max(n_logical_, static_cast<uint32_t>(e) + 1);
            }
        }
    }

    // Every id must have its place in the map.
    void check_map(const id_cube & ids) const {
        for (uint64_t l = 0; logical_ && l < ids.n_layers(); ++l) {
            for (uint64_t t = 0; t < ids.n_tokens(); ++t) {
                for (uint32_t r = 0; r < ids.width(); ++r) {
                    const int64_t p = ids.id(t, l, r);
                    if (p >= 0 && (l >= logical_->dim(0) || static_cast<uint64_t>(p) >= logical_->dim(1))) {
                        throw error("physical expert " + std::to_string(p) + " of layer " + std::to_string(l) +
                                    " is not in last_physical_to_logical_map")
                            .in(file_->path());
                    }
                }
            }
        }
    }

    graph_layout logical_blocks(graph_layout blocks) {
        if (logical_) {
            for (block_layout & b : blocks) {
                b.n_expert = n_logical_;
            }
        } else {
            note("the file does not say how many experts there are: taken as the largest id + 1");
        }
        return blocks;
    }

    std::unique_ptr<torch_file> file_;
    pickle::ref                 records_;
    std::optional<array_view>   logical_;  // [layers][physical experts]
    uint32_t                    n_logical_ = 0;
    size_t                      record_    = 0;  // the next one
};

}  // namespace

std::unique_ptr<trace::trace_source> open_sglang_tokens(std::unique_ptr<torch_file> file) {
    return std::make_unique<sglang_tokens>(std::move(file));
}

}  // namespace moescope::logs
