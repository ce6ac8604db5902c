// The core of viewer.html: from the bytes of traces to the data of a page, with the code of `moescope report`. Compiled to
// WebAssembly; web/viewer/core.ts calls it.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <set>
#include <string>
#include <vector>

#include "browser.hpp"
#include "core/error.hpp"
#include "files.hpp"
#include "report/page_bundle.hpp"
#include "report/report.hpp"
#include "trace/reader.hpp"

namespace moescope::viewer {

namespace {

std::string result;  // of the latest call that has one

// A log of routing is text; whatever else is no trace, its reader says so.
void refuse_text(const memory_file & file) {
    const size_t beginning = std::min<size_t>(file.bytes.size(), 4096);
    if (beginning > 0 && std::memchr(file.bytes.data(), 0, beginning) == nullptr) {
        throw error("not a moescope trace").in(file.name).fix("'moescope report' shows logs, too");
    }
}

// The traces among the files: each but those that another one goes on in.
std::vector<std::string> first_parts() {
    std::set<std::string> further;
    for (const memory_file & file : memory_files()) {
        refuse_text(file);
        const std::vector<std::string> parts = trace::trace_reader(file.name).part_paths();
        further.insert(parts.begin() + 1, parts.end());
    }
    std::vector<std::string> traces;
    for (const memory_file & file : memory_files()) {
        if (further.count(file.name) == 0) {
            traces.push_back(file.name);
        }
    }
    return traces;
}

std::string page_bytes() {
    report::report_options o;
    o.traces = first_parts();
    return report::to_bytes(report::build_page(o, {}), /*compress*/ false);
}

std::string line_of(const std::exception & e) {
    return dynamic_cast<const std::bad_alloc *>(&e) != nullptr ? "the browser has not enough memory for this"
                                                               : e.what();
}

}  // namespace

extern "C" {

// Where the browser puts the `size` bytes of a file; its name follows the same way. Null: there is not enough memory.
__attribute__((export_name("add_file"))) uint8_t * add_file(uint32_t size) {
    try {
        memory_files().emplace_back();
        memory_files().back().bytes.resize(size);
        return memory_files().back().bytes.data();
    } catch (const std::exception &) {
        return nullptr;
    }
}

// Where the name of the file that was added last goes, in UTF-8.
__attribute__((export_name("name_file"))) char * name_file(uint32_t size) {
    memory_files().back().name.resize(size);
    return memory_files().back().name.data();
}

// Builds the page of all files. Returns 1: the result is its data (report/bundle.hpp); 0: it is what went wrong, in a line.
__attribute__((export_name("build_page"))) int build_page() {
    try {
        result = page_bytes();
        return 1;
    } catch (const std::exception & e) {
        result = line_of(e);
        return 0;
    }
}

__attribute__((export_name("result_data"))) const char * result_data() {
    return result.data();
}
__attribute__((export_name("result_size"))) uint32_t result_size() {
    return static_cast<uint32_t>(result.size());
}

}  // extern "C"

}  // namespace moescope::viewer
