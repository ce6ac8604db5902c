#pragma once

// One file per export format behind one small interface; registry.cpp lists them.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "trace/read_through.hpp"
#include "trace/source.hpp"

namespace moescope::formats {

struct export_options {
    size_t      max_columns = 0;  // log: values shown of each list; 0: all
    std::string model;            // access-json: the GGUF file; empty: the one that the trace names
};

// Writes one trace in one format. Calls come in the order begin, ubatch*, end.
class exporter : public routing_sink {
public:
    // May read the source through; whatever it reads is rewound before the first ubatch. Throws error when the source
    // lacks what the format needs.
    virtual void begin(trace::trace_source &) {}
    // Returns what the reader of the result must know: what the format had no place for.
    virtual std::vector<std::string> end() { return {}; }
};

struct format {
    const char * name;
    const char * what;  // one line for --help
    // One of the three: a single file, a folder that exists and is empty, or a file for whose sake the format reads the
    // trace on its own.
    std::unique_ptr<exporter> (*to_file)(std::FILE * out, const export_options & options)              = nullptr;
    std::unique_ptr<exporter> (*to_folder)(const std::string & folder, const export_options & options) = nullptr;
    std::vector<std::string> (*whole)(trace::trace_source & source, std::FILE * out)                   = nullptr;
};

const std::vector<format> & all_formats();
// Null when there is no such format.
const format * find_format(const std::string & name);

// Throws error for a source without rows.
void require_rows(const trace::trace_source & source);

// Drives an exporter over a whole source. Throws error for a source without rows. Returns the exporter's notes.
std::vector<std::string> write_all(trace::trace_source & source, exporter & to,
                                   const trace::read_progress & progress = {});

// ---- the formats ------------------------------------------------------------------------------------------------

std::unique_ptr<exporter> make_log(std::FILE * out, const export_options & options);
std::unique_ptr<exporter> make_csv(std::FILE * out, const export_options & options);
std::unique_ptr<exporter> make_selection_csv(std::FILE * out, const export_options & options);
std::unique_ptr<exporter> make_gate_csv(std::FILE * out, const export_options & options);
std::unique_ptr<exporter> make_jsonl(std::FILE * out, const export_options & options);
std::unique_ptr<exporter> make_json(std::FILE * out, const export_options & options);
std::unique_ptr<exporter> make_access_json(const std::string & folder, const export_options & options);
std::unique_ptr<exporter> make_npy(const std::string & folder, const export_options & options);
std::vector<std::string>  write_parquet(trace::trace_source & source, std::FILE * out);
std::vector<std::string>  write_sglang_stat(trace::trace_source & source, std::FILE * out);
std::vector<std::string>  write_ktransformers(trace::trace_source & source, std::FILE * out);
std::vector<std::string>  write_cerebras(trace::trace_source & source, std::FILE * out);

}  // namespace moescope::formats
