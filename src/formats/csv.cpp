// The two selection tables: the CSV log (logs/csv_log.hpp) with Prompt and Label behind it, and layer_id,expert_ids.

#include <optional>

#include "analysis/tools/labelled_requests.hpp"
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
    explicit csv_exporter(std::FILE * out) : out_(out) {}

    void begin(trace::trace_source & source) override {
        requests_.emplace(source);
        out_.text() += logs::csv_log_header;
        out_.text().back() = ',';  // the line goes on
        out_.text() += "Prompt,Label\n";
        for (const std::string & label : requests_->labels()) {
            labels_.push_back(quoted(label));
        }
    }

    void ubatch(const routed_ubatch & u) override {
        requests_->follow(u);
        for (const block_rows & b : u.blocks) {
            left_out_ += b.layout->block != 0 ? b.n_rows : 0;
            for (uint32_t r = 0; b.layout->block == 0 && r < b.n_rows; ++r) {
                logs::append_csv_row(out_.text(), u, b, r);
                append_request(requests_->of(b.token_of(r)));
            }
        }
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
    // A field of one line, whatever is in it.
    static std::string quoted(const std::string & label) {
        std::string field = label.empty() ? "" : "\"";
        for (const char c : label) {
            field += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
            field += c == '"' ? "\"" : "";
        }
        return field + (label.empty() ? "" : "\"");
    }

    void append_request(int64_t request) {
        out_.text() += ',';
        logs::append_int(out_.text(), request);
        out_.text() += ',';
        out_.text() += request >= 0 && static_cast<size_t>(request) < labels_.size()
                           ? labels_[static_cast<size_t>(request)]
                           : std::string();
        out_.text() += '\n';
    }

    text_out                                   out_;
    std::optional<analysis::labelled_requests> requests_;
    std::vector<std::string>                   labels_;  // [request] as fields
    uint64_t                                   left_out_ = 0;
    uint64_t                                   unknown_  = 0;
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
