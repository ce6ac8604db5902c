#include "formats/format.hpp"

#include "core/error.hpp"
#include "trace/read_through.hpp"

namespace moescope::formats {

const std::vector<format> & all_formats() {
    static const std::vector<format> list = {
        {"log", "the expert selection log, for people", make_log, nullptr},
        {"csv", "Layer,Token,ExpertIDs,ExpertWeights,Prompt,Label", make_csv, nullptr},
        {"selection-csv", "layer_id,expert_ids", make_selection_csv, nullptr},
        {"gate-csv", "gate_input,layer_id,token_id,values", make_gate_csv, nullptr},
        {"jsonl", "one object per row and layer, with everything that was captured", make_jsonl, nullptr},
        {"json", "the same rows in one document, with what the trace says about itself", make_json, nullptr},
        {"parquet", "the rows with everything that was captured, for any query engine", nullptr, nullptr,
         write_parquet},
        {"npy", "plain arrays that numpy can memory-map, with schema.json", nullptr, make_npy},
        {"sglang-stat", "selections per expert as SGLang's recorder saves them (.pt), for EPLB", nullptr, nullptr,
         write_sglang_stat},
        {"ktransformers", "the same as ktransformers takes them (.pt)", nullptr, nullptr, write_ktransformers},
        {"cerebras", "sums per expert as the authors of REAP save them (.pt)", nullptr, nullptr, write_cerebras},
        {"access-json", "memory-map.json and what each step read", nullptr, make_access_json},
    };
    return list;
}

const format * find_format(const std::string & name) {
    for (const format & f : all_formats()) {
        if (name == f.name) {
            return &f;
        }
    }
    return nullptr;
}

void require_rows(const trace::trace_source & source) {
    if (source.info().counts_only) {
        throw error("the trace holds only counts, no rows to export")
            .in(source.info().path)
            .fix("record without --counts-only, or see 'moescope stats'");
    }
}

std::vector<std::string> write_all(trace::trace_source & source, exporter & to, const trace::read_progress & progress) {
    require_rows(source);
    to.begin(source);
    trace::read_through(source, {&to}, progress);
    return to.end();
}

}  // namespace moescope::formats
