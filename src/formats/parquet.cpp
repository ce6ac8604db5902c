// One Parquet file of the table `rows` (docs/sql.md): one row per token and layer, lists of what was captured. DuckDB writes
// it: a well-kept writer with zstd, dictionaries and row groups, which moescope needs for its queries anyway.

#include <algorithm>

#include "core/version.hpp"
#include "formats/format.hpp"
#include "formats/json_row.hpp"
#include "sql/database.hpp"

namespace moescope::formats {

namespace {

// A row group is built in memory before it is written: about this many bytes of it, whatever was captured.
constexpr uint64_t row_group_bytes = 64u << 20, fewest_rows = 2048, most_rows = 122'880;
constexpr uint64_t memory = 1u << 30;

uint64_t row_group_rows(const graph_layout & blocks) {
    uint64_t widest = 1;
    for (const block_layout & b : blocks) {
        uint64_t bytes = 64 + 4 * b.n_expert_used;  // the token's columns, and the ids
        for (const column c : float_columns) {
            bytes += b.columns.has(c) ? 4 * b.width(c) : 0;
        }
        widest = std::max(widest, bytes);
    }
    return std::clamp(row_group_bytes / widest / fewest_rows * fewest_rows, fewest_rows, most_rows);
}

std::string select_captured(const graph_layout & blocks) {
    column_set captured;
    for (const block_layout & b : blocks) {
        captured = captured | b.columns;
    }
    std::string columns = "token_index, ubatch, batch, time_ns, sequence, position, phase, prompt, label, token, text, "
                          "layer, block";
    for (uint32_t bit = 1; bit <= column_set::all().bits(); bit <<= 1) {
        if ((captured.bits() & bit) != 0) {
            columns += std::string(", ") + column_key(static_cast<column>(bit));
        }
    }
    return "SELECT " + columns + " FROM rows";
}

std::vector<std::pair<std::string, std::string>> metadata_of(const trace::trace_source & source) {
    const model_info &                               m    = source.model();
    const trace::trace_info &                        info = source.info();
    std::vector<std::pair<std::string, std::string>> all  = {
         {"format", "moescope-rows"},
         {"format_version", "1"},
         {"moescope", version},
         {"trace", info.path},
         {"program", info.program},
         {"captured", info.captured},
         {"architecture", m.architecture},
         {"name", m.name},
         {"file", m.file},
         {"n_layer", std::to_string(m.n_layer)},
         {"n_expert", std::to_string(m.n_expert)},
         {"n_expert_used", std::to_string(m.n_expert_used)},
         {"n_embd", std::to_string(m.n_embd)},
         {"n_vocab", std::to_string(m.n_vocab)},
    };
    for (auto & [key, value] : all) {
        key.insert(0, "moescope.");
    }
    for (const auto & [key, value] : m.metadata) {
        all.emplace_back("gguf." + key, value);
    }
    return all;
}

}  // namespace

std::vector<std::string> write_parquet(trace::trace_source & source, std::FILE * out) {
    require_rows(source);
    sql::database_options o;
    o.runs    = sql::name_runs({source.info().path});
    o.memory  = memory;
    o.threads = 1;  // the rows stay in their order
    o.output  = ::fileno(out);
    sql::database(o).write_parquet(select_captured(source.blocks()), metadata_of(source),
                                   row_group_rows(source.blocks()));
    return {};
}

}  // namespace moescope::formats
