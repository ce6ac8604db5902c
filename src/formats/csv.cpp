// The two selection tables: Layer,Token,ExpertIDs,ExpertWeights (logs/csv_log.hpp) and layer_id,expert_ids.

#include "formats/format.hpp"
#include "formats/text_out.hpp"
#include "logs/csv_log.hpp"
#include "logs/row_text.hpp"

namespace moescope::formats {

namespace {

std::vector<std::string> second_block_note(uint64_t rows) {
    if (rows == 0) {
        return {};
    }
    return {std::to_string(rows) +
            " rows of second MoE blocks were left out: this format has no place for them, but jsonl has"};
}

class csv_exporter final : public exporter {
public:
    explicit csv_exporter(std::FILE * out) : out_(out) { out_.text() += logs::csv_log_header; }

    void ubatch(const routed_ubatch & u) override {
        left_out_ += logs::append_csv_rows(out_.text(), u);
        for (const int32_t pos : u.pos) {
            unknown_ += pos < 0;
        }
        out_.drain();
    }
    std::vector<std::string> end() override {
        out_.flush();
        auto notes = second_block_note(left_out_);
        if (unknown_ > 0) {
            notes.push_back(std::to_string(unknown_) + " tokens have no known position: their Token is -1");
        }
        return notes;
    }

private:
    text_out out_;
    uint64_t left_out_ = 0;
    uint64_t unknown_  = 0;
};

class selection_csv_exporter final : public exporter {
public:
    explicit selection_csv_exporter(std::FILE * out) : out_(out) { out_.text() += "layer_id,expert_ids\n"; }

    void ubatch(const routed_ubatch & u) override {
        for (const block_rows & b : u.blocks) {
            if (b.layout->block != 0) {
                left_out_ += b.n_rows;
                continue;
            }
            for (uint32_t r = 0; r < b.n_rows; ++r) {
                row(b, r);
            }
            out_.drain();
        }
    }
    std::vector<std::string> end() override {
        out_.flush();
        return second_block_note(left_out_);
    }

private:
    void row(const block_rows & b, uint32_t r) {
        const size_t k = b.layout->n_expert_used;
        logs::append_int(out_.text(), b.layout->layer);
        for (size_t i = 0; i < k; ++i) {
            out_.text() += i == 0 ? ',' : ' ';
            logs::append_int(out_.text(), b.id(r * k + i));
        }
        out_.text() += '\n';
    }

    text_out out_;
    uint64_t left_out_ = 0;
};

}  // namespace

std::unique_ptr<exporter> make_csv(std::FILE * out, const export_options &) {
    return std::make_unique<csv_exporter>(out);
}

std::unique_ptr<exporter> make_selection_csv(std::FILE * out, const export_options &) {
    return std::make_unique<selection_csv_exporter>(out);
}

}  // namespace moescope::formats
