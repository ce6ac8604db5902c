// The rows of jsonl in one document, behind what the trace says about itself. Written as it is read, in bounded memory.

#include <nlohmann/json.hpp>

#include "formats/format.hpp"
#include "formats/json_row.hpp"
#include "formats/text_out.hpp"

namespace moescope::formats {

namespace {

using json = nlohmann::ordered_json;

json trace_json(const trace::trace_info & i) {
    return {{"path", i.path},
            {"format", i.format},
            {"program", i.program},
            {"pid", i.pid},
            {"stream", i.stream},
            {"captured", i.captured},
            {"started_unix_ns", i.started_unix_ns},
            {"ended", i.ended},
            {"end_reason", i.end_reason},
            {"run_ns", i.run_ns},
            {"capture_ns", i.capture_ns},
            {"compute_ns", i.compute_ns},
            {"lost_bytes", i.lost_bytes},
            {"notes", i.notes}};
}

json model_json(const model_info & m) {
    json metadata = json::object();
    for (const auto & [key, value] : m.metadata) {
        metadata[key] = value;
    }
    return {{"architecture", m.architecture},
            {"name", m.name},
            {"file", m.file},
            {"n_layer", m.n_layer},
            {"n_expert", m.n_expert},
            {"n_expert_used", m.n_expert_used},
            {"n_embd", m.n_embd},
            {"n_vocab", m.n_vocab},
            {"metadata", metadata}};
}

json blocks_json(const graph_layout & blocks) {
    json list = json::array();
    for (const block_layout & b : blocks) {
        list.push_back({{"layer", b.layer},
                        {"block", b.block},
                        {"n_expert", b.n_expert},
                        {"n_expert_used", b.n_expert_used},
                        {"n_embd", b.n_embd},
                        {"columns", to_string(b.columns)},
                        {"weight_sum", b.weight_sum},
                        {"mtp", b.has(block_layout::mtp)},
                        {"ids_repeat", b.has(block_layout::ids_repeat)},
                        {"norms_gated", b.has(block_layout::norms_gated)},
                        {"given_ids", b.has(block_layout::given_ids)}});
    }
    return list;
}

class json_exporter final : public exporter {
public:
    explicit json_exporter(std::FILE * out) : out_(out) {}

    void begin(trace::trace_source & source) override {
        rows_            = std::make_unique<json_rows>(source);
        json        head = {{"format", "moescope-rows"},
                            {"version", 1},
                            {"trace", trace_json(source.info())},
                            {"model", model_json(source.model())},
                            {"blocks", blocks_json(source.blocks())}};
        std::string text = head.dump(-1, ' ', false, json::error_handler_t::replace);
        text.pop_back();  // the brace: the rows follow inside it
        out_.text() += text + ",\n\"rows\":[";
    }

    void ubatch(const routed_ubatch & u) override {
        for (const block_rows & b : u.blocks) {
            for (uint32_t r = 0; r < b.n_rows; ++r) {
                out_.text() += first_ ? "\n" : ",\n";
                first_ = false;
                rows_->append(out_.text(), u, ubatches_, b, r);
                out_.drain();
            }
        }
        ubatches_ += 1;
    }
    std::vector<std::string> end() override {
        out_.text() += "\n]}\n";
        out_.flush();
        return {};
    }

private:
    text_out                   out_;
    std::unique_ptr<json_rows> rows_;
    uint64_t                   ubatches_ = 0;
    bool                       first_    = true;
};

}  // namespace

std::unique_ptr<exporter> make_json(std::FILE * out, const export_options &) {
    return std::make_unique<json_exporter>(out);
}

}  // namespace moescope::formats
