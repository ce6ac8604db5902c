// A folder of plain .npy arrays with schema.json; docs/export.md lists them.

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include <nlohmann/json.hpp>

#include "analysis/tools/labelled_requests.hpp"
#include "core/error.hpp"
#include "formats/format.hpp"
#include "formats/json_row.hpp"
#include "formats/npy_array.hpp"
#include "io/path.hpp"

namespace moescope::formats {

namespace {

using json = nlohmann::ordered_json;

void write_json(const std::string & path, const json & value) {
    std::ofstream out(path, std::ios::binary);
    out << value.dump(2, ' ', false, json::error_handler_t::replace) << '\n';
    if (!out.flush()) {
        throw error("cannot write").in(path);
    }
}

std::string folder_of(const block_layout & l) {
    std::string layer = std::to_string(l.layer);
    layer.insert(0, layer.size() < 3 ? 3 - layer.size() : 0, '0');
    return "layer-" + layer + (l.block > 0 ? "." + std::to_string(l.block) : "");
}

// What an array's file means, by its name.
const char * meaning_of(const std::string & path) {
    static const std::map<std::string, const char *> meanings = {
        {"token", "per token, in the order of computing: its id in the vocabulary; -1: not known"},
        {"position", "per token: its place in its sequence; -1: not known"},
        {"sequence", "per token: llama.cpp's sequence, a server's slot; -1: not known"},
        {"phase", "per token: 0 prefill, 1 decode"},
        {"batch", "per token: the llama_decode call, from 0"},
        {"ubatch", "per token: the ubatch, from 0"},
        {"prompt", "per token: its prompt or request, from 0 in the order in which they begin"},
        {"label", "per token: the label of its prompt, as an index into labels; -1: it has none"},
        {"token_index", "per row: its token, as an index into the arrays by token; -1: not known"},
        {"ids", "per row: the selected experts, in the order of selection"},
        {"weights", "per row: the final gate weights of the selected experts"},
        {"weights_raw", "per row: their gate weights before normalisation and scale"},
        {"logits", "per row: router output, by expert"},
        {"probs", "per row: after softmax or sigmoid, by expert"},
        {"selection", "per row: the scores that the top-k was taken of, by expert"},
        {"norms", "per row: Euclidean norms of the selected experts' outputs"},
        {"gate_input", "per row: what the router read"},
        {"gram", "per row, a square matrix by rows: dot products of the selected experts' outputs, of that of the "
                 "runner-up where it was captured, and of the residual stream in front of the block and behind it"},
        {"runner_up", "per row: the expert that would be selected next, and its gate before normalisation"},
        {"peaks", "per row: the largest absolute elements of the selected experts' outputs"},
    };
    return meanings.at(io::without_suffix(io::base_name(path), ".npy"));
}

// The arrays of one MoE block.
struct block_arrays {
    block_layout                                 layout;  // with the columns of all its graphs
    std::unique_ptr<npy_array>                   ids, token_index;
    std::map<column, std::unique_ptr<npy_array>> columns;
};

class npy_exporter final : public exporter {
public:
    explicit npy_exporter(const std::string & folder)
        : folder_(folder),
          token_(folder + "/token.npy", "<i4", 4, 0),
          position_(folder + "/position.npy", "<i4", 4, 0),
          sequence_(folder + "/sequence.npy", "<i4", 4, 0),
          phase_(folder + "/phase.npy", "|u1", 1, 0),
          batch_(folder + "/batch.npy", "<u4", 4, 0),
          ubatch_(folder + "/ubatch.npy", "<u4", 4, 0),
          prompt_(folder + "/prompt.npy", "<i4", 4, 0),
          label_(folder + "/label.npy", "<i4", 4, 0) {}

    void begin(trace::trace_source & source) override {
        source_ = &source;
        requests_.emplace(source);
        const std::vector<std::string> & labels = requests_->labels();
        labels_                                 = {labels.begin(), labels.end()};
        labels_.erase("");
        for (const block_layout & l : source.blocks()) {
            add_block(l);
        }
    }

    void ubatch(const routed_ubatch & u) override {
        const size_t                n = u.n_tokens();
        const std::vector<uint32_t> batch(n, u.batch), number(n, ubatches_++);
        token_.append(u.token.data(), n);
        position_.append(u.pos.data(), n);
        sequence_.append(u.seq.data(), n);
        phase_.append(u.phases.data(), n);
        batch_.append(batch.data(), n);
        ubatch_.append(number.data(), n);
        requests_->follow(u);
        append_requests();
        for (const int32_t t : u.token) {
            if (const std::string * piece = t < 0 ? nullptr : source_->piece(t)) {
                texts_[t] = piece;
            }
        }
        for (const block_rows & b : u.blocks) {
            rows(b);
        }
        tokens_ += n;
    }

    std::vector<std::string> end() override {
        json files = json::array(), layers = json::array(), texts = json::object();
        for (npy_array * a : {&token_, &position_, &sequence_, &phase_, &batch_, &ubatch_, &prompt_, &label_}) {
            finish(*a, files);
        }
        for (auto & [key, block] : blocks_) {
            const block_layout & l = block.layout;
            finish(*block.token_index, files);
            if (block.ids) {
                finish(*block.ids, files);
            }
            for (auto & [column, array] : block.columns) {
                finish(*array, files);
            }
            layers.push_back({{"layer", l.layer},
                              {"block", l.block},
                              {"folder", folder_of(l)},
                              {"n_expert", l.n_expert},
                              {"n_expert_used", l.n_expert_used},
                              {"n_embd", l.n_embd}});
        }
        for (const auto & [token, text] : texts_) {
            texts[std::to_string(token)] = *text;
        }
        write_json(folder_ + "/tokens.json", texts);
        const model_info & m = source_->model();
        write_json(folder_ + "/schema.json", {{"format", "moescope-npy"},
                                              {"version", 1},
                                              {"trace", source_->info().path},
                                              {"captured", source_->info().captured},
                                              {"model",
                                               {{"architecture", m.architecture},
                                                {"name", m.name},
                                                {"file", m.file},
                                                {"file_size", m.file_size},
                                                {"n_expert", m.n_expert}}},
                                              {"labels", labels_},
                                              {"blocks", layers},
                                              {"arrays", files}});
        return {};
    }

private:
    void append_requests() {
        std::vector<int32_t> prompts, labels;
        for (const int64_t request : requests_->of_tokens()) {
            const auto label = labels_.find(requests_->label_of(request));
            prompts.push_back(static_cast<int32_t>(request));
            labels.push_back(label == labels_.end() ? -1 : static_cast<int32_t>(std::distance(labels_.begin(), label)));
        }
        prompt_.append(prompts.data(), prompts.size());
        label_.append(labels.data(), labels.size());
    }

    void add_block(const block_layout & l) {
        static constexpr const char * id_types[] = {"|u1", "<u2", "", "<u4"};
        const std::string             folder     = folder_ + "/" + folder_of(l);
        std::filesystem::create_directory(folder);
        block_arrays b;
        b.layout      = l;
        b.token_index = std::make_unique<npy_array>(folder + "/token_index.npy", "<i8", 8, 0);
        if (l.columns.has(column::ids)) {
            b.ids = std::make_unique<npy_array>(folder + "/ids.npy", id_types[l.id_bytes() - 1], l.id_bytes(),
                                                l.n_expert_used);
        }
        for (const column c : float_columns) {
            if (l.columns.has(c)) {
                b.columns[c] = std::make_unique<npy_array>(folder + "/" + column_key(c) + ".npy", "<f4", 4, l.width(c));
            }
        }
        blocks_[l.id()] = std::move(b);
    }

    void rows(const block_rows & b) {
        block_arrays &       to = blocks_.at(b.layout->id());
        const block_layout & l  = to.layout;
        if (b.n_rows == 0) {
            return;
        }
        if (to.ids && (b.layout->n_expert_used != l.n_expert_used || b.layout->n_expert > l.n_expert)) {
            throw error("layer " + std::to_string(l.layer) +
                        " has rows of different shapes, which one array cannot hold")
                .fix("use -f jsonl");
        }
        std::vector<int64_t> index(b.n_rows);
        for (uint32_t r = 0; r < b.n_rows; ++r) {
            index[r] = b.token_of(r) < 0 ? -1 : static_cast<int64_t>(tokens_) + b.token_of(r);
        }
        to.token_index->append(index.data(), index.size());
        if (to.ids) {
            append_ids(b, l, *to.ids);
        }
        for (auto & [column, array] : to.columns) {
            const size_t  n      = size_t(b.n_rows) * l.width(column);
            const float * values = b.values_of(column);
            if (values != nullptr && b.layout->width(column) == l.width(column)) {
                array->append(values, n);
            } else {
                const std::vector<float> absent(n, std::nanf(""));
                array->append(absent.data(), n);
            }
        }
    }

    // Ids as wide as the layer's largest graph needs them.
    static void append_ids(const block_rows & b, const block_layout & l, npy_array & to) {
        const size_t n = size_t(b.n_rows) * l.n_expert_used;
        if (b.layout->id_bytes() == l.id_bytes()) {
            to.append(b.ids, n);
            return;
        }
        for (size_t i = 0; i < n; ++i) {
            const uint32_t id = b.id(i);  // little-endian: its low bytes come first
            to.append(&id, 1);
        }
    }

    void finish(npy_array & a, json & files) {
        a.finish();
        json shape = json::array({a.rows()});
        if (a.width() > 0) {
            shape.push_back(a.width());
        }
        files.push_back({{"file", a.path().substr(folder_.size() + 1)},
                         {"dtype", a.type()},
                         {"shape", shape},
                         {"meaning", meaning_of(a.path())}});
    }

    std::string                                folder_;
    trace::trace_source *                      source_ = nullptr;
    npy_array                                  token_, position_, sequence_, phase_, batch_, ubatch_, prompt_, label_;
    std::optional<analysis::labelled_requests> requests_;
    std::set<std::string>                      labels_;  // label.npy has their places
    std::map<block_id, block_arrays>           blocks_;
    std::map<int32_t, const std::string *>     texts_;
    uint64_t                                   tokens_   = 0;
    uint32_t                                   ubatches_ = 0;
};

}  // namespace

std::unique_ptr<exporter> make_npy(const std::string & folder, const export_options &) {
    return std::make_unique<npy_exporter>(folder);
}

}  // namespace moescope::formats
