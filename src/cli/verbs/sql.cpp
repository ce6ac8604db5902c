// moescope sql: traces as tables of a database.

#include <iostream>

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/help/examples.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/terminal/result_rows.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"
#include "core/version.hpp"
#include "sql/database.hpp"
#include "sql/text.hpp"

namespace moescope::cli {

namespace {

struct sql_options {
    std::vector<std::string> arguments;  // files, then perhaps a query
    std::string              query;
    std::string              memory;
    bool                     json = false;
    bool                     csv  = false;
    output_options           output;
    sql::database_options    database;
};

bool ends_with(const std::string & text, const std::string & end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

rows_style style_of(const sql_options & o) {
    return o.json || (ends_with(o.output.path, ".json") && !o.csv) ? rows_style::json
           : o.csv || ends_with(o.output.path, ".csv")             ? rows_style::csv
                                                                   : rows_style::box;
}

// The last argument is a query if it cannot be meant as a file.
void take_arguments(sql_options & o) {
    std::vector<std::string> & files  = o.arguments;
    const bool                 exists = ::access(files.back().c_str(), F_OK) == 0;
    if (!exists && (files.back().find_first_of(" \n\t(;") != std::string::npos || files.back()[0] == '.')) {
        o.query = files.back();
        files.pop_back();
    }
    if (files.empty()) {
        throw usage_error("no trace is named").fix("moescope sql run.moetrace \"SELECT …\"");
    }
    o.database.runs   = sql::name_runs(files);
    o.database.memory = o.memory.empty() ? 0 : parse_bytes(o.memory, "--memory");
    o.output.inputs   = files;
    o.output.inputs.push_back(o.database.model);
}

// .schema and the like, as DuckDB's shell has them. False: a statement.
bool run_dot_command(const std::string & text, std::FILE * out) {
    if (text.empty() || text[0] != '.') {
        return false;
    }
    const std::string name = text.substr(0, text.find_first_of(" \n;"));
    if (name == ".schema" || name == ".tables") {
        fmt::print(out, name == ".schema" ? "{}" : "{}\n", sql::schema_text(name == ".schema"));
    } else if (name == ".help") {
        fmt::print(out, ".schema   the tables, their columns, and what these mean\n.tables   their names alone\n"
                        ".quit     the end\nAnything else is SQL, up to a semicolon; docs/sql.md has examples.\n");
    } else {
        throw usage_error("no such command: " + name).fix(".help lists them");
    }
    return true;
}

void run_statement(sql::database & db, const std::string & statement, rows_style style, std::FILE * out) {
    const auto result = db.query(statement);
    print_rows(*result, style, out);
}

void run_script(const sql_options & o, std::FILE * out) {
    if (run_dot_command(o.query, out)) {
        return;
    }
    sql::database            db(o.database);
    std::string              rest;
    std::vector<std::string> statements = sql::split_statements(o.query, rest);
    if (!rest.empty()) {
        statements.push_back(rest);
    }
    for (const std::string & s : statements) {
        run_statement(db, s, style_of(o), out);
    }
}

void run_to_parquet(const sql_options & o, std::FILE * out) {
    std::string              rest;
    std::vector<std::string> statements = sql::split_statements(o.query, rest);
    if (!rest.empty()) {
        statements.push_back(rest);
    }
    if (statements.size() != 1) {
        throw usage_error("a Parquet file takes the rows of one statement");
    }
    sql::database_options with_output = o.database;
    with_output.output                = ::fileno(out);
    sql::database(with_output)
        .write_parquet(statements[0], {{"moescope.version", version}, {"moescope.query", statements[0]}});
}

// Reads lines from stdin, and runs what they hold up to each semicolon. At a terminal an error ends nothing.
void run_interactively(const sql_options & o) {
    const bool    person = is_terminal(stdin);
    sql::database db(o.database);
    if (person) {
        fmt::print("Tables: {}. .help says more.\n", sql::schema_text(false));
    }
    std::string pending;
    const auto  prompt = [&] {
        if (person) {
            fmt::print("{}", pending.empty() ? "moescope> " : "     ...> ");
            std::fflush(stdout);
        }
    };
    prompt();
    for (std::string line; std::getline(std::cin, line); prompt()) {
        try {
            if (pending.empty() && (line == ".quit" || line == ".exit")) {
                return;
            }
            if (pending.empty() && run_dot_command(line, stdout)) {
                continue;
            }
            const std::string script = std::exchange(pending, "") + line + "\n";
            for (const std::string & s : sql::split_statements(script, pending)) {
                run_statement(db, s, style_of(o), stdout);
            }
        } catch (const error & e) {
            if (!person) {
                throw;
            }
            note(e.what());
            pending.clear();
        }
    }
    if (!pending.empty()) {
        run_statement(db, pending, style_of(o), stdout);
    }
}

void run_sql(sql_options & o) {
    take_arguments(o);
    check_output(o.output);
    if (o.query.empty()) {
        if (o.output.path != "-") {
            throw usage_error("-o needs a query");
        }
        run_interactively(o);
    } else {
        const bool parquet = ends_with(o.output.path, ".parquet");
        write_output(o.output, [&](std::FILE * out) { parquet ? run_to_parquet(o, out) : run_script(o, out); });
    }
}

}  // namespace

void add_sql(CLI::App & app) {
    CLI::App & verb = *app.add_subcommand("sql", "query traces in SQL (DuckDB)");
    const auto o    = std::make_shared<sql_options>();
    verb.add_option(
            "T", o->arguments,
            "traces, or logs and files of other tools (see docs/logs.md); then a query, or nothing to be asked for "
            "queries")
        ->required()
        ->type_name("");
    verb.add_option("--model", o->database.model, "the GGUF file, for the sizes of experts")->type_name("FILE");
    auto * json = verb.add_flag("--json", o->json, "the rows as a JSON array of objects");
    verb.add_flag("--csv", o->csv, "the rows as CSV")->excludes(json);
    verb.add_option("--memory", o->memory, "what DuckDB may use, for example 1G (default: 80 % of the machine's)")
        ->type_name("SIZE");
    verb.add_option("--threads", o->database.threads, "threads (default: one per core)")->type_name("N");
    verb.add_option("--spill", o->database.spill, "a folder for what does not fit into memory (default: none)")
        ->type_name("FOLDER");
    verb.add_flag("--unsafe", o->database.unsafe, "let the query read and write other files, and load extensions");
    add_output_options(verb, o->output, "write the rows here: .csv, .json, or .parquet");
    add_examples(
        verb,
        {{"moescope sql run.moetrace 'select expert, count(*) n from selections group by expert order by n desc limit 5'",
          "the five busiest experts"},
         {"moescope sql run.moetrace 'from rows limit 3' --csv", "what a table holds"}});
    verb.callback([o] { run_sql(*o); });
}

}  // namespace moescope::cli
