// One JSON object per row and layer (json_row.hpp), one per line.

#include "formats/format.hpp"
#include "formats/json_row.hpp"
#include "formats/text_out.hpp"

namespace moescope::formats {

namespace {

class jsonl_exporter final : public exporter {
public:
    explicit jsonl_exporter(std::FILE * out) : out_(out) {}

    void begin(trace::trace_source & source) override { rows_ = std::make_unique<json_rows>(source); }

    void ubatch(const routed_ubatch & u) override {
        for (const block_rows & b : u.blocks) {
            for (uint32_t r = 0; r < b.n_rows; ++r) {
                rows_->append(out_.text(), u, ubatches_, b, r);
                out_.text() += '\n';
                out_.drain();
            }
        }
        ubatches_ += 1;
    }
    std::vector<std::string> end() override {
        out_.flush();
        return {};
    }

private:
    text_out                   out_;
    std::unique_ptr<json_rows> rows_;
    uint64_t                   ubatches_ = 0;
};

}  // namespace

std::unique_ptr<exporter> make_jsonl(std::FILE * out, const export_options &) {
    return std::make_unique<jsonl_exporter>(out);
}

}  // namespace moescope::formats
