#include "check/check.hpp"
#include <cstring>

#include "core/error.hpp"
#include "logs/open.hpp"
#include "trace/reader.hpp"

namespace moescope::check {

namespace {

finding of_file(const char * name, std::string what) {
    finding f;
    f.name = name;
    f.what = std::move(what);
    return f;
}

void check_files(const std::vector<std::string> & paths, check_result & r) {
    for (const std::string & path : paths) {
        r.parts.push_back(check_part(path));
        const part_integrity & p = r.parts.back();
        if (p.state.what == trace::damage::kind::none) {
            continue;
        }
        const bool cut = p.state.what == trace::damage::kind::cut;
        r.findings.push_back(of_file(
            cut ? "file-cut" : "file-damaged",
            p.path + ": " + p.state.reason + " (at byte " + std::to_string(p.state.offset) + "); " +
                std::to_string(p.bytes - p.whole_bytes) + " of " + std::to_string(p.bytes) +
                " bytes are lost; the first " + std::to_string(p.whole_bytes) + " are whole and hold " +
                std::to_string(p.ubatches) + " ubatches, " + std::to_string(p.tokens) + " tokens" +
                (cut ? "" : "; save them with: head -c " + std::to_string(p.whole_bytes) + " FILE > SAVED.moetrace")));
    }
}

// What the last part's end says against what the parts hold.
void check_end(const trace::trace_info & info, check_result & r) {
    const part_integrity & last = r.parts.back();
    if (!last.has_end && last.stopped != 0) {
        r.notes.push_back(std::string("the trace has no end: it could not be written any more (") +
                          std::strerror(last.stopped) + "); what the program computed after that is missing");
        return;
    }
    if (!last.has_end || last.goes_on) {
        r.notes.push_back(
            "the trace has no end: the program was killed or is still running; of what it computed in its last second, rows "
            "may be missing");
        return;
    }
    if (r.findings.empty() && info.first_part == 1 &&
        (r.invariants.ubatches != last.end_ubatches || r.invariants.tokens != last.end_tokens)) {
        r.findings.push_back(of_file(
            "end-mismatch", "the trace's end says " + std::to_string(last.end_ubatches) + " ubatches and " +
                                std::to_string(last.end_tokens) + " tokens, but the trace holds " +
                                std::to_string(r.invariants.ubatches) + " and " + std::to_string(r.invariants.tokens)));
    }
}

void check_rows(trace::trace_source & source, check_result & r) {
    invariant_check check;
    std::string     stopped;
    try {
        for (routed_ubatch u; source.next(u);) {
            check.add(u);
        }
        if (const expert_counts * counts = source.stored_counts()) {
            check.add(*counts);
        }
    } catch (const error & e) {
        stopped = e.what();
    }
    auto found   = check.finish();
    r.invariants = check.result();
    if (!stopped.empty() && r.findings.empty()) {  // the checksums fit, and still it cannot be read
        r.findings.push_back(of_file("unreadable", stopped));
    } else if (!stopped.empty()) {
        r.notes.push_back("the invariants were checked up to the damage");
    }
    r.findings.insert(r.findings.end(), found.begin(), found.end());
}

}  // namespace

check_result check_trace(const std::string & path) {
    check_result                         r;
    std::unique_ptr<trace::trace_source> source;
    try {
        source = logs::open_source(path);
    } catch (const error & e) {
        check_files({path}, r);  // throws where this is not a trace at all
        if (r.findings.empty()) {
            r.findings.push_back(of_file("unreadable", e.what()));
        } else {
            r.notes.push_back("the invariants were not checked: the file cannot be opened as it is");
        }
        return r;
    }
    const trace::trace_info & info   = source->info();
    const auto *              reader = dynamic_cast<const trace::trace_reader *>(source.get());
    if (reader != nullptr) {
        check_files(reader->part_paths(), r);
    }
    if (!info.unread_part.empty()) {
        r.findings.push_back(of_file(
            "part-unread", info.unread_part + ": the trace continues there, but the file is missing or damaged, or "
                                              "follows a part that lost its end; nothing from there on is read"));
    }
    r.notes.insert(r.notes.end(), info.notes.begin(), info.notes.end());
    source->include_taken_back(true);
    check_rows(*source, r);
    if (reader != nullptr && info.unread_part.empty()) {
        check_end(info, r);
    }
    return r;
}

}  // namespace moescope::check
