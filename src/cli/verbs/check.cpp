// moescope check: is a trace whole, and does it hold what every correct capture holds?

#include <cstring>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "analysis/tools/prompt_labels.hpp"
#include "check/check.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"

namespace moescope::cli {

namespace {

constexpr int exit_unchecked = 3;

struct check_options {
    std::string    trace;
    bool           json = false;
    output_options output;
};

const char * state_name(trace::damage::kind k) {
    return k == trace::damage::kind::none ? "whole" : k == trace::damage::kind::cut ? "cut" : "damaged";
}

std::string check_json(const check::check_result & r, const std::string & path) {
    nlohmann::ordered_json parts = nlohmann::ordered_json::array(), findings = nlohmann::ordered_json::array();
    for (const check::part_integrity & p : r.parts) {
        nlohmann::ordered_json part = {
            {"path", p.path},
            {"state", state_name(p.state.what)},
            {"bytes", p.bytes},
            {"bytes_whole", p.whole_bytes},
            {"chunks_whole", p.n_chunks},
            {"ubatches", p.ubatches},
            {"tokens", p.tokens},
            {"ended", p.has_end},
        };
        if (p.stopped != 0) {
            part["stopped"] = std::strerror(p.stopped);
        }
        if (p.state.what != trace::damage::kind::none) {
            part["damage_offset"] = p.state.offset;
            part["reason"]        = p.state.reason;
        }
        parts.push_back(std::move(part));
    }
    for (const check::finding & f : r.findings) {
        nlohmann::ordered_json one = {{"name", f.name}, {"what", f.what}, {"count", f.count}};
        if (f.layer >= 0) {
            one["layer"] = f.layer;
            one["block"] = f.block;
        }
        if (f.ubatch >= 0) {
            one["ubatch"] = f.ubatch;
            one["row"]    = f.row;
        }
        findings.push_back(std::move(one));
    }
    const check::invariant_result & i   = r.invariants;
    const nlohmann::ordered_json    all = {
           {"trace", path},
           {"ok", r.findings.empty()},
           {"findings", findings},
           {"notes", r.notes},
           {"parts", parts},
           {"checked",
            {{"ubatches", i.ubatches},
             {"tokens", i.tokens},
             {"rows", i.rows},
             {"rows_ids_distinct", i.rows_distinct},
             {"rows_weights_sum", i.rows_summed},
             {"rows_ids_topk", i.rows_topk},
             {"misread_windows", i.windows},
             {"misread_partitions", i.partitions},
             {"misread_partitions_expected", i.partitions_expected}}},
    };
    return to_text(all);
}

std::string tested(uint64_t rows, const char * untested) {
    return rows > 0 ? with_commas(rows) + " rows" : untested;
}

std::string finding_line(const check::finding & f) {
    std::string where;
    if (f.layer >= 0) {
        where = fmt::format("layer {}{}: ", f.layer, f.block > 0 ? fmt::format(" block {}", f.block) : "");
    }
    std::string line = fmt::format("FINDING {}: {}{}", f.name, where, printable(f.what));
    if (f.ubatch >= 0) {
        line += fmt::format(" (ubatch {}, row {}{})", f.ubatch, f.row,
                            f.count > 1 ? fmt::format("; {} times in all", with_commas(f.count)) : "");
    }
    return line + "\n";
}

std::string check_text(const check::check_result & r, const std::string & path) {
    std::string text = r.findings.empty() ? "no findings\n" : "";
    for (const check::finding & f : r.findings) {
        text += finding_line(f);
    }
    for (const check::part_integrity & p : r.parts) {
        text += fmt::format("{}: {}, {} bytes, {} whole chunks{}\n", printable(p.path), state_name(p.state.what),
                            with_commas(p.bytes), with_commas(p.n_chunks),
                            p.state.what == trace::damage::kind::none ? ", every checksum matches" : "");
    }
    if (r.parts.empty()) {
        text += printable(path) + ": a log of another tool, without checksums\n";
    }
    const check::invariant_result & i = r.invariants;
    text += fmt::format("read                     {} ubatches, {} tokens, {} rows of MoE blocks\n",
                        with_commas(i.ubatches), with_commas(i.tokens), with_commas(i.rows));
    text += fmt::format("ids distinct             {}\n", tested(i.rows_distinct, "not tested"));
    text += fmt::format("weights add up           {}\n",
                        tested(i.rows_summed, "not tested (not normalised, or not captured)"));
    text += fmt::format("ids = top-k of scores    {}\n", tested(i.rows_topk, "not tested (needs --capture selection)"));
    text +=
        i.windows > 0
            ? fmt::format("contiguous misread       {} windows, {} partition the experts, {:.3g} expected by chance\n",
                          with_commas(i.windows), with_commas(i.partitions), i.partitions_expected)
            : std::string(
                  "contiguous misread       not tested (needs n_expert >= 4 k and n_expert / k rows in one ubatch)\n");
    for (const std::string & line : analysis::without_prompt_labels(r.notes)) {
        text += "note: " + printable(line) + "\n";
    }
    return text;
}

// Scripts tell a trace with findings from what is no trace by the exit code.
check::check_result check_or_leave(const std::string & path) {
    try {
        return check::check_trace(path);
    } catch (const error & e) {
        note(std::string(e.what()) + "; nothing was checked");
        throw exit_with{exit_unchecked};
    }
}

void run_check(check_options & o) {
    o.output.inputs = {o.trace};
    check_output(o.output);
    const check::check_result r    = check_or_leave(o.trace);
    const std::string         text = o.json ? check_json(r, o.trace) : check_text(r, o.trace);
    write_text(o.output, text);
    if (!r.findings.empty()) {
        throw error(fmt::format("{} finding{}", r.findings.size(), r.findings.size() == 1 ? "" : "s")).in(o.trace);
    }
}

}  // namespace

void add_check(CLI::App & app) {
    const auto o = std::make_shared<check_options>();
    CLI::App & verb =
        *app.add_subcommand("check", "whether a trace is whole, and holds what every correct capture holds");
    verb.add_option("T", o->trace, "a trace (all its parts), or a log of another tool")->required()->type_name("");
    verb.add_flag("--json", o->json, "as JSON");
    add_output_options(verb, o->output, "write here instead of to stdout");
    verb.footer("Exit code 1 when there are findings, 3 when there is nothing to check: no such file, or not a trace.\n"
                "What is checked: docs/check.md.");
    add_examples(verb, {{"moescope check run.moetrace", "is the file whole, and can its numbers be true?"}});
    verb.callback([o] { run_check(*o); });
}

}  // namespace moescope::cli
