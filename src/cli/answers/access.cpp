// moescope stats --access: which slices of the model file were read, how often, and how many bytes that makes.

#include <filesystem>

#include <fmt/format.h>

#include "analysis/access.hpp"
#include "cli/answers/shared.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"
#include "logs/open.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

std::string model_behind(const trace::trace_source & source, const std::string & given) {
    if (!given.empty()) {
        return given;
    }
    const std::string & named = source.model().file;
    std::error_code     ec;
    if (named.empty() || !std::filesystem::exists(named, ec)) {
        throw error("the model" + (named.empty() ? "" : " " + named) + " was not found, and the sizes come from it")
            .in(source.info().path)
            .fix("name it with --model");
    }
    return named;
}

cell part_of(uint64_t bytes, uint64_t all) {
    return all > 0 ? double(bytes) / double(all) : unknown;
}

std::vector<cell> row_of(const weight_reads & w, uint64_t all_bytes) {
    std::vector<cell> row = {w.layer < 0 && w.known ? cell() : cell_if(w.known, static_cast<uint64_t>(w.layer)),
                             w.tensor};
    if (w.expert >= 0) {
        row.push_back(int64_t{w.expert});
    }
    row.push_back(whole(w.reads));
    row.push_back(whole(w.rows));
    if (!w.known) {
        row.insert(row.end(), {cell(), cell(), cell()});
        return row;
    }
    // A lookup reads as many rows as its ubatch has tokens: a mean.
    row.push_back(w.by_rows ? cell(double(w.bytes) / double(w.reads)) : whole(w.bytes / w.reads));
    row.push_back(whole(w.bytes));
    row.push_back(part_of(w.bytes, all_bytes));
    return row;
}

table slices_table(const access_result & r, size_t top) {
    table t{"slices",
            "Hottest expert slices; a read is one ubatch that needs the slice, however many rows select it",
            {layer_column,
             {"tensor", "tensor"},
             {"expert", "expert", shown::integer},
             {"reads", "reads", shown::integer},
             {"rows", "selections", shown::integer},
             {"bytes_per_read", "per read", shown::bytes},
             {"bytes", "total", shown::bytes},
             {"share", "of all bytes", shown::percent}},
            {},
            top};
    for (const weight_reads & w : r.slices) {
        t.rows.push_back(row_of(w, r.bytes()));
    }
    return t;
}

table tensors_table(const access_result & r, size_t top) {
    table t{"tensors",
            "Other tensors; lookups such as token embeddings read one row per token",
            {layer_column,
             {"tensor", "tensor"},
             {"reads", "reads", shown::integer},
             {"rows", "tokens", shown::integer},
             {"bytes_per_read", "per read", shown::bytes},
             {"bytes", "total", shown::bytes},
             {"share", "of all bytes", shown::percent}},
            {},
            top};
    for (const weight_reads & w : r.tensors) {
        t.rows.push_back(row_of(w, r.bytes()));
    }
    return t;
}

void add_notes(answer & a, const access_result & r) {
    if (r.n_unknown > 0) {
        a.notes.push_back(
            fmt::format("{} tensors are not in the model file (from an adapter?): their sizes are unknown and not "
                        "in the totals",
                        with_commas(r.n_unknown)));
    }
    if (r.n_unchosen > 0) {
        a.notes.push_back(
            fmt::format("{} reads of slices were left out: their ids are not an MoE block's and were not recorded",
                        with_commas(r.n_unchosen)));
    }
    if (r.n_unlisted > 0) {
        a.notes.push_back(
            fmt::format("{} ubatches were left out: they have no access list", with_commas(r.n_unlisted)));
    }
}

}  // namespace

answer answer_access(const std::string & trace, const std::string & model, size_t top) {
    const auto source = logs::open_source(trace);
    source->include_taken_back(true);  // what was read for drafts was read
    require_rows(*source);
    access_totals reads(*source, read_weight_sizes(model_behind(*source, model)));
    feed(*source, {}, {&reads});
    const access_result r = reads.result();

    answer a;
    a.kind    = "access";
    a.notes   = source_notes(*source);
    a.figures = {{"ubatches", whole(r.ubatches)},
                 {"tokens", whole(r.tokens)},
                 {"bytes", whole(r.bytes())},
                 {"bytes_experts", whole(r.bytes_slices)},
                 {"bytes_other", whole(r.bytes_tensors)}};
    a.headline.push_back(
        fmt::format("{} of weights were read in {} ubatches with {} tokens: {} of experts, {} of everything else.",
                    human_bytes(r.bytes()), with_commas(r.ubatches), with_commas(r.tokens), human_bytes(r.bytes_slices),
                    human_bytes(r.bytes_tensors)));
    a.tables = {slices_table(r, top), tensors_table(r, top)};
    add_notes(a, r);
    return a;
}

}  // namespace moescope::cli
