#include "cli/terminal/answer.hpp"

#include <cmath>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"

namespace moescope::cli {

namespace {

nlohmann::json to_json(const cell & c) {
    if (const auto * text = std::get_if<std::string>(&c)) {
        return *text;
    }
    if (const auto * n = std::get_if<int64_t>(&c)) {
        return *n;
    }
    const auto * x = std::get_if<double>(&c);
    return x != nullptr && std::isfinite(*x) ? nlohmann::json(*x) : nlohmann::json();
}

std::string to_csv(const cell & c) {
    if (const auto * text = std::get_if<std::string>(&c)) {
        if (text->find_first_of(",\"\r\n") == std::string::npos) {
            return *text;
        }
        std::string quoted = "\"";
        for (const char ch : *text) {
            quoted += ch == '"' ? "\"\"" : std::string(1, ch);
        }
        return quoted + '"';
    }
    if (const auto * n = std::get_if<int64_t>(&c)) {
        return std::to_string(*n);
    }
    const auto * x = std::get_if<double>(&c);
    return x != nullptr && std::isfinite(*x) ? fmt::format("{}", *x) : "";  // the shortest that reads back the same
}

}  // namespace

void add_answer_options(CLI::App & verb, answer_options & o) {
    auto * json = verb.add_flag("--json", o.json, "everything as JSON");
    auto * csv =
        verb.add_flag("--csv", o.csv, "one table as CSV: the first, or the one that --table names")->excludes(json);
    verb.add_option("--table", o.csv_table, "which table --csv writes")->needs(csv)->type_name("NAME");
    verb.add_flag("--full", o.full, "show all rows of each table");
    add_output_options(verb, o.output, "write here instead of to stdout");
}

void print_answer(const answer & a, const answer_options & o) {
    const int width = o.output.path == "-" ? terminal_width(stdout) : 100;
    write_text(o.output, o.json  ? to_text(answer_json(a))
                         : o.csv ? answer_csv(a, o.csv_table)
                                 : answer_text(a, width, o.full));
}

nlohmann::json answer_json(const answer & a) {
    nlohmann::json j = {{"kind", a.kind}, {"notes", a.notes}};
    for (const figure & f : a.figures) {
        j[f.key] = to_json(f.value);
    }
    for (const table & t : a.tables) {
        nlohmann::json rows = nlohmann::json::array();
        for (const auto & r : t.rows) {
            nlohmann::json row;
            for (size_t i = 0; i < t.columns.size(); ++i) {
                row[t.columns[i].key] = to_json(r[i]);
            }
            rows.push_back(std::move(row));
        }
        j[t.key] = std::move(rows);
    }
    return j;
}

std::string answer_csv(const answer & a, const std::string & table_key) {
    const table * chosen = nullptr;
    std::string   names;
    for (const table & t : a.tables) {
        chosen = chosen == nullptr && (table_key.empty() || t.key == table_key) ? &t : chosen;
        names += (names.empty() ? "" : ", ") + t.key;
    }
    if (chosen == nullptr) {
        throw usage_error("--table takes one of: " + names + "; not '" + table_key + "'");
    }
    std::string out;
    for (size_t i = 0; i < chosen->columns.size(); ++i) {
        out += (i ? "," : "") + chosen->columns[i].key;
    }
    out += '\n';
    for (const auto & r : chosen->rows) {
        for (size_t i = 0; i < r.size(); ++i) {
            out += (i ? "," : "") + to_csv(r[i]);
        }
        out += '\n';
    }
    return out;
}

}  // namespace moescope::cli
