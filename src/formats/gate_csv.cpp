// Gate inputs as gate_input,layer_id,token_id,v1 v2 ... rows.
//
// token_id is the token's row in its batch (the llama_decode call, however many ubatches it was split into), so that a
// batch with the single row 0 behind the first batch is a generated token, as the readers of this format take it.

#include "core/error.hpp"
#include "formats/format.hpp"
#include "formats/text_out.hpp"
#include "logs/row_text.hpp"

namespace moescope::formats {

namespace {

class gate_csv_exporter final : public exporter {
public:
    explicit gate_csv_exporter(std::FILE * out) : out_(out) {}

    void begin(trace::trace_source & source) override {
        column_set any;
        for (const block_layout & l : source.blocks()) {
            any = any | l.columns;
        }
        if (!any.has(column::gate_input)) {
            throw error("no gate inputs were captured").in(source.info().path).fix("record with --capture gate-input");
        }
    }

    void ubatch(const routed_ubatch & u) override {
        if (u.batch != batch_) {
            batch_       = u.batch;
            batch_start_ = 0;
        }
        for (const block_rows & b : u.blocks) {
            const float * values = b.values_of(column::gate_input);
            if (values == nullptr) {
                continue;
            }
            if (b.layout->block != 0) {
                continue;  // the same router's input once more
            }
            for (uint32_t r = 0; r < b.n_rows; ++r) {
                row(b, r, values);
            }
        }
        batch_start_ += u.n_tokens();
    }
    std::vector<std::string> end() override {
        out_.flush();
        if (unknown_ > 0) {
            return {std::to_string(unknown_) + " rows belong to no known token: their token_id is -1"};
        }
        return {};
    }

private:
    void row(const block_rows & b, uint32_t r, const float * values) {
        const size_t  n = b.layout->n_embd;
        const int32_t t = b.token_of(r);
        std::string & s = out_.text();
        unknown_ += t < 0;
        s += "gate_input,";
        logs::append_int(s, b.layout->layer);
        s += ',';
        logs::append_int(s, t < 0 ? -1 : static_cast<int64_t>(batch_start_) + t);
        for (size_t i = 0; i < n; ++i) {
            s += i == 0 ? ',' : ' ';
            logs::append_shortest(s, values[r * n + i]);
        }
        s += '\n';
        out_.drain();
    }

    text_out out_;
    uint32_t batch_       = 0;
    uint64_t batch_start_ = 0;  // tokens of the batch in its earlier ubatches
    uint64_t unknown_     = 0;
};

}  // namespace

std::unique_ptr<exporter> make_gate_csv(std::FILE * out, const export_options &) {
    return std::make_unique<gate_csv_exporter>(out);
}

}  // namespace moescope::formats
