#pragma once

// What a verb answers: a few headline figures, tables, notes. Written once, printed as text that fits a terminal, as JSON
// or as CSV with the same names. Not a number (NaN) is a dash, null, or an empty field.

#include <cstdint>
#include <cstdio>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "cli/terminal/result_file.hpp"

namespace moescope::cli {

// How a column's values look to a person; JSON and CSV have them in full.
enum class shown {
    text,     // left-aligned
    integer,  // 1,234
    percent,  // a share, 0.1234 -> 12.34 %
    ratio,    // 1.23x
    real,     // 0.123
    bytes,    // 1.20 MiB
};

using cell = std::variant<std::monostate, std::string, int64_t, double>;  // monostate: nothing to say here

struct table_column {
    std::string key;    // in JSON and CSV, with its unit: "layer", "share", "bytes_per_token"
    std::string title;  // on the terminal; empty: only in JSON and CSV
    shown       as = shown::text;
};

struct table {
    std::string                    key;    // "layers"
    std::string                    title;  // a line above it, what it shows and in which unit
    std::vector<table_column>      columns;
    std::vector<std::vector<cell>> rows;
    size_t                         n_shown = SIZE_MAX;  // on a terminal; 0: only in JSON and CSV
};

struct figure {
    std::string key;
    cell        value;
};

struct answer {
    std::string              kind;      // "frequency"
    std::vector<std::string> headline;  // for people, the most important first
    std::vector<figure>      figures;   // the headline's numbers, and others of the whole
    std::vector<table>       tables;    // the first is what --csv prints unless --table names another
    std::vector<std::string> notes;     // what the reader must know to believe the right amount
};

struct answer_options {
    output_options output;
    bool           json = false;
    bool           csv  = false;
    bool           full = false;  // --full: text tables are not cut to n_shown
    std::string    csv_table;     // --table
};

// Adds --json, --csv, --table, --full, -o and --force.
void add_answer_options(CLI::App & verb, answer_options & o);

void           print_answer(const answer & a, const answer_options & o);
std::string    answer_text(const answer & a, int width, bool full);
nlohmann::json answer_json(const answer & a);
std::string    answer_csv(const answer & a, const std::string & table_key);  // usage_error names the tables there are

// One table as text, its columns aligned; columns that do not fit the width are left out from the right, and said so.
std::string table_text(const table & t, int width, bool full);
std::string show(const cell & c, shown as);

}  // namespace moescope::cli
