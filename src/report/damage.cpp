#include "report/damage.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <tuple>

#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "io/json_depth.hpp"

namespace moescope::report {

namespace {

// A whole number that T can hold. Throws error where it is none.
template <class T>
T whole(const json & j) {
    if (!j.is_number_integer() || j != json(static_cast<T>(j.get<int64_t>()))) {
        throw error("a number that cannot be");
    }
    return j.get<T>();
}

using json = nlohmann::json;

double number_or_nan(const json & row, const char * key) {
    const json & v = row.at(key);
    return v.is_null() ? std::nan("") : v.get<double>();
}

json or_null(double v) {
    return std::isfinite(v) ? json(v) : json();
}

page_damage::cell read_cell(const json & row) {
    return {number_or_nan(row, "kl"),        number_or_nan(row, "kl_low"),   number_or_nan(row, "kl_high"),
            number_or_nan(row, "delta_nll"), number_or_nan(row, "same_top"), number_or_nan(row, "displaced")};
}

page_damage::row read_plan(const json & j) {
    page_damage::row r;
    r.name      = j.at("plan").get<std::string>();
    r.criterion = j.at("criterion").is_null() ? "" : j.at("criterion").get<std::string>();
    r.keep      = j.at("keep").is_null() ? -1 : whole<int32_t>(j.at("keep"));
    return r;
}

page_damage::row read_expert(const json & j) {
    page_damage::row r;
    r.layer  = whole<int32_t>(j.at("layer"));
    r.expert = whole<int32_t>(j.at("expert"));
    r.name   = std::to_string(r.layer) + "/" + std::to_string(r.expert);
    if (r.layer < 0 || r.expert < 0 || r.layer > 0xffff || r.expert > 0xffff) {
        throw error("layers and experts are numbers from 0 on");
    }
    return r;
}

// The rows of one table and its by-label sister, which lists the same plans in the same order, label by label.
void read_rows(const json & document, const char * key, const char * label_key, page_damage::row (*read)(const json &),
               page_damage & d) {
    const size_t first = d.rows.size();
    for (const json & j : document.value(key, json::array())) {
        d.rows.push_back(read(j));
        d.rows.back().cells = {read_cell(j)};
    }
    const json labels = document.value(label_key, json::array());
    for (size_t i = 0; i < labels.size(); ++i) {
        const size_t n  = d.rows.size() - first;
        const size_t at = n == 0 ? 0 : first + i / std::max<size_t>(1, labels.size() / n);
        if (n == 0 || labels.size() % n != 0 || read(labels[i]).name != d.rows[at].name) {
            throw error(std::string("'") + label_key + "' does not fit '" + key + "'");
        }
        const auto label = labels[i].at("label").get<std::string>();
        const auto known = std::find(d.labels.begin(), d.labels.end(), label);
        if (known == d.labels.end()) {
            d.labels.push_back(label);
        }
        d.rows[at].cells.push_back(read_cell(labels[i]));
    }
}

void check_cells(const page_damage & d) {
    for (const page_damage::row & r : d.rows) {
        if (r.cells.size() != d.labels.size() + 1) {
            throw error("not every plan has every label");
        }
    }
}

page_damage parse(const json & document) {
    page_damage d;
    d.model    = document.at("model").get<std::string>();
    d.corpus   = document.at("corpus").get<std::string>();
    d.samples  = whole<uint64_t>(document.at("samples"));
    d.tokens   = whole<uint64_t>(document.at("tokens"));
    d.n_expert = whole<uint32_t>(document.at("n_expert"));
    read_rows(document, "plans", "plan_labels", read_plan, d);
    read_rows(document, "experts", "expert_labels", read_expert, d);
    check_cells(d);
    return d;
}

json cells_json(const std::vector<page_damage::cell> & cells) {
    json list = json::array();
    for (const page_damage::cell & c : cells) {
        list.push_back({or_null(c.kl), or_null(c.kl_low), or_null(c.kl_high), or_null(c.delta_nll), or_null(c.same_top),
                        or_null(c.displaced)});
    }
    return list;
}

}  // namespace

page_damage parse_damage(const json & document, const std::string & name) {
    if (!document.is_object() || document.value("kind", json()) != "evaluate") {
        throw error("this is no evaluation").in(name).fix("moescope evaluate -o FILE writes one");
    }
    if (document.value("version", json()) != 1) {
        throw error("this evaluation was written by a newer moescope").in(name);
    }
    try {
        return parse(document);
    } catch (const json::exception &) {
        throw error("this evaluation is damaged").in(name);
    } catch (const error & e) {
        throw error("this evaluation is damaged: " + e.reason()).in(name);
    }
}

page_damage read_damage(const std::string & path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) {
        throw error("cannot open").in(path);
    }
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    if (io::json_depth(text) > io::deepest_json) {
        throw error("this evaluation is damaged").in(path);
    }
    return parse_damage(json::parse(text, nullptr, /*allow_exceptions*/ false), path);
}

json damage_json(const page_damage & d) {
    json rows = json::array();
    for (const page_damage::row & r : d.rows) {
        rows.push_back({{"name", r.name},
                        {"criterion", r.criterion},
                        {"keep", r.keep},
                        {"layer", r.layer},
                        {"expert", r.expert},
                        {"cells", cells_json(r.cells)}});
    }
    return {{"model", d.model},       {"corpus", d.corpus}, {"samples", d.samples}, {"tokens", d.tokens},
            {"n_expert", d.n_expert}, {"labels", d.labels}, {"rows", rows}};
}

}  // namespace moescope::report
