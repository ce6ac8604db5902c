#include "sql/engine/pushdown.hpp"

#include <algorithm>
#include <functional>
#include <regex>
#include <vector>

#include <nlohmann/json.hpp>

#include "sql/engine/run_query.hpp"
#include "sql/engine/table.hpp"
#include "sql/text.hpp"

namespace moescope::sql {

namespace {

using nlohmann::json;

// A plan's operators, its root included.
void visit(const json & operators, const std::function<void(const json &)> & f) {
    for (const json & o : operators) {
        f(o);
        if (o.contains("children")) {
            visit(o["children"], f);
        }
    }
}

std::string last_part(const std::string & name) {
    const size_t dot = name.rfind('.');
    return dot == std::string::npos ? name : name.substr(dot + 1);
}

// The conditions of a scan, all of which hold: a text, or a list of texts of which each may join several by AND.
std::vector<std::string> conditions_of(const json & scan) {
    std::vector<std::string> all;
    const json &             info = scan["extra_info"];
    if (!info.contains("Filters")) {
        return all;
    }
    const json & filters = info["Filters"];
    for (const json & f : filters.is_array() ? filters : json::array({filters})) {
        std::string text = f.get<std::string>();
        for (size_t at; (at = text.find(" AND ")) != std::string::npos; text.erase(0, at + 5)) {
            all.push_back(text.substr(0, at));
        }
        all.push_back(text);
    }
    return all;
}

void narrow(range & r, const std::string & sign, int64_t v) {
    if (sign == "=" || sign == ">=" || sign == ">") {
        r.first = std::max(r.first, v + (sign == ">"));
    }
    if (sign == "=" || sign == "<=" || sign == "<") {
        r.last = std::min(r.last, v - (sign == "<"));
    }
}

// Only what is wholly understood: "layer=3", "sequence>=10", "phase='decode'".
void narrow(row_bounds & b, const std::string & condition) {
    static const std::regex number("(layer|sequence)(=|>=|<=|>|<)(-?[0-9]{1,9})");
    static const std::regex phase("phase='(prefill|decode)'|\\(CAST\\(phase AS VARCHAR\\) = '(prefill|decode)'\\)");
    std::smatch             m;
    if (std::regex_match(condition, m, number)) {
        narrow(m[1] == "layer" ? b.layer : b.sequence, m[2], std::stoll(m[3]));
    } else if (std::regex_match(condition, m, phase)) {
        const std::string name = m[1].matched ? m[1] : m[2];
        b.phases               = {b.phases[0] && name == "prefill", b.phases[1] && name == "decode"};
        b.unknown_phases       = false;
    }
}

// What one scan or the other needs.
row_bounds either(const row_bounds & a, const row_bounds & b) {
    const auto hull = [](const range & x, const range & y) {
        return range{std::min(x.first, y.first), std::max(x.last, y.last)};
    };
    row_bounds all;
    all.layer          = hull(a.layer, b.layer);
    all.sequence       = hull(a.sequence, b.sequence);
    all.phases         = {a.phases[0] || b.phases[0], a.phases[1] || b.phases[1]};
    all.unknown_phases = a.unknown_phases || b.unknown_phases;
    return all;
}

}  // namespace

planner::planner() {
    for (const table & t : all_tables()) {
        std::string columns;
        for (const table_column & c : t.columns) {
            columns += (columns.empty() ? "" : ", ") + quoted(c.name, '"') + " " + sql_name(c.type);
        }
        run_query(engine_.connection(), std::string("CREATE TABLE ") + t.name + " (" + columns + ")");
    }
    engine_.set("disabled_optimizers", "'statistics_propagation,late_materialization'");
    engine_.set("enable_external_access", "false");
    engine_.set("lock_configuration", "true");
}

bounds_by_table planner::needed_rows(const std::string & statement) const {
    try {
        static const std::regex explain("\\s*EXPLAIN\\b(\\s*\\([^)]*\\))?(\\s*ANALYZE\\b)?", std::regex::icase);
        std::smatch             m;
        const bool              asks = std::regex_search(statement, m, explain, std::regex_constants::match_continuous);
        const std::string       asked = asks ? m.suffix().str() : statement;
        return bounds_of_plan(query_text(engine_.connection(), "EXPLAIN (FORMAT json) " + asked, 1));
    } catch (const std::exception &) {  // whoever runs the statement says what is wrong with it
        return {};
    }
}

bounds_by_table bounds_of_plan(const std::string & text) {
    bounds_by_table all;
    visit(json::parse(text), [&](const json & o) {
        const json & info = o.contains("extra_info") ? o["extra_info"] : json();
        if (!info.is_object()) {
            return;
        }
        if (!info.contains("Table")) {
            return;
        }
        const std::string name = last_part(info["Table"].get<std::string>());
        row_bounds        bounds;
        for (const std::string & condition : conditions_of(o)) {
            narrow(bounds, condition);
        }
        const auto [it, is_first] = all.try_emplace(name, bounds);
        if (!is_first) {
            it->second = either(it->second, bounds);
        }
    });
    return all;
}

}  // namespace moescope::sql
