// model: one row per run, with what it says of itself and of its model.

#include <nlohmann/json.hpp>

#include "logs/open.hpp"
#include "sql/engine/out_column.hpp"
#include "sql/tables/tables.hpp"
#include "sql/text.hpp"

namespace moescope::sql {

namespace {

// A column of text or of numbers, from what a source says.
struct fact {
    table_column column;
    std::string (*text)(const run &, const trace::trace_info &, const model_info &);
    uint64_t (*number)(const trace::trace_info &, const model_info &);
};

std::string metadata_json(const model_info & m) {
    nlohmann::ordered_json all = nlohmann::ordered_json::object();
    for (const auto & [key, value] : m.metadata) {
        all[key] = value;
    }
    return all.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

const std::vector<fact> & facts() {
    using info                         = const trace::trace_info &;
    using model                        = const model_info &;
    static const std::vector<fact> all = {
        {{"run", column_type::text, "which file"}, [](const run & r, info, model) { return r.name; }, nullptr},
        {{"path", column_type::text, "of the file"}, [](const run & r, info, model) { return r.path; }, nullptr},
        {{"format", column_type::text, "moetrace, or of which tool"},
         [](const run &, info i, model) { return i.format; },
         nullptr},
        {{"program", column_type::text, "that ran"}, [](const run &, info i, model) { return i.program; }, nullptr},
        {{"captured", column_type::text, "the capture list"},
         [](const run &, info i, model) { return i.captured; },
         nullptr},
        {{"architecture", column_type::text, "of the model"},
         [](const run &, info, model m) { return m.architecture; },
         nullptr},
        {{"name", column_type::text, "of the model"}, [](const run &, info, model m) { return m.name; }, nullptr},
        {{"file", column_type::text, "of the model"}, [](const run &, info, model m) { return m.file; }, nullptr},
        {{"metadata", column_type::text, "the GGUF keys that speak of experts, as a JSON object"},
         [](const run &, info, model m) { return metadata_json(m); },
         nullptr},
        {{"file_size", column_type::bigint, "bytes of the model file"},
         nullptr,
         [](info, model m) { return m.file_size; }},
        {{"n_layer", column_type::bigint, "layers"}, nullptr, [](info, model m) { return uint64_t{m.n_layer}; }},
        {{"n_expert", column_type::bigint, "routed experts per layer"},
         nullptr,
         [](info, model m) { return uint64_t{m.n_expert}; }},
        {{"n_expert_used", column_type::bigint, "of them, used per row"},
         nullptr,
         [](info, model m) { return uint64_t{m.n_expert_used}; }},
        {{"n_embd", column_type::bigint, "width"}, nullptr, [](info, model m) { return uint64_t{m.n_embd}; }},
        {{"n_vocab", column_type::bigint, "tokens in the vocabulary"},
         nullptr,
         [](info, model m) { return uint64_t{m.n_vocab}; }},
        {{"bytes", column_type::bigint, "of the run's files"}, nullptr, [](info i, model) { return i.bytes; }},
        {{"run_ns", column_type::bigint, "how long it ran"}, nullptr, [](info i, model) { return i.run_ns; }},
        {{"capture_ns", column_type::bigint, "of that, recording"},
         nullptr,
         [](info i, model) { return i.capture_ns; }},
        {{"compute_ns", column_type::bigint, "of run_ns, not idle; 0: not known"},
         nullptr,
         [](info i, model) { return i.compute_ns; }},
    };
    return all;
}

class model_scan final : public table_scan {
public:
    model_scan(const run & r, scan_request request)
        : run_(r),
          request_(std::move(request)),
          source_(logs::open_source(r.path)) {}

    uint64_t fill(duckdb_data_chunk out) override {
        std::vector<out_column> columns = vectors_of(out, request_);
        for (size_t c = 0; c < columns.size() && !done_; ++c) {
            out_column & to = columns[c];
            const fact & f  = facts()[request_.columns[c].which];
            if (f.text != nullptr) {
                const std::string value = f.text(run_, source_->info(), source_->model());
                value.empty() ? to.set_null(0) : to.set_text(0, valid_utf8(value));
            } else {
                const uint64_t value  = f.number(source_->info(), source_->model());
                to.data<int64_t>()[0] = static_cast<int64_t>(value);
                if (value == 0) {
                    to.set_null(0);
                }
            }
        }
        return std::exchange(done_, true) ? 0 : 1;
    }

private:
    run                                  run_;
    scan_request                         request_;
    std::unique_ptr<trace::trace_source> source_;
    bool                                 done_ = false;
};

std::vector<table_column> columns_of_facts() {
    std::vector<table_column> columns;
    for (const fact & f : facts()) {
        columns.push_back(f.column);
    }
    return columns;
}

}  // namespace

table model_table() {
    return {"model", "one row per run: what is known of it and of its model", columns_of_facts(),
            [](const run & r, const scan_request & request, const std::string &) -> std::unique_ptr<table_scan> {
                return std::make_unique<model_scan>(r, request);
            }};
}

}  // namespace moescope::sql
