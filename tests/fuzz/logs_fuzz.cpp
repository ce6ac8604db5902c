// libFuzzer target: any text as a log (ours or another program's, text, CSV or JSON lines, mixed) is read or refused with
// moescope::error. What was read is written as our own logs, and these read back as the same selections.

#include <vector>

#include "common.hpp"
#include "core/error.hpp"
#include "logs/csv_log.hpp"
#include "logs/foreign_line.hpp"
#include "logs/text_log.hpp"

using namespace moescope;

namespace {

constexpr uint32_t most_experts = 1u << 20;  // a larger id is a misprint (foreign_line.cpp)

// By layer and block the selections, row by row, each with how many it has.
using selections = std::map<block_id, std::vector<uint32_t>>;

struct as_logs {
    selections  ids;
    std::string csv = logs::csv_log_header, text;
};

void add_ids(selections & to, const block_rows & b) {
    std::vector<uint32_t> & list = to[b.layout->id()];
    const uint32_t          k    = b.layout->n_expert_used;
    for (uint32_t i = 0; i < b.n_rows * k; ++i) {
        if (i % k == 0) {
            list.push_back(k);
        }
        list.push_back(b.id(i));
    }
}

as_logs read_log(const std::string & path) {
    const auto source = logs::open_source(path);
    fuzz::promised(source->model().n_expert <= most_experts, "a log has no more experts than any model");
    as_logs all;
    for (routed_ubatch u; source->next(u);) {
        for (const block_rows & b : u.blocks) {
            if (b.layout->n_expert_used > 0) {
                add_ids(all.ids, b);
            }
        }
        logs::append_csv_rows(all.csv, u);
        logs::text_log_format().ubatch(all.text, u);
    }
    return all;
}

void check_lines(const std::string & text) {
    logs::foreign_line line;
    for (size_t begin = 0; begin < text.size();) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        logs::parse_foreign_line(std::string_view(text).substr(begin, end - begin), line);
        fuzz::promised(line.layer >= 0 || line.what == logs::foreign_line::kind::other || !line.problem.empty(),
                       "a line that is understood names no negative layer");
        begin = end + 1;
    }
}

void check_written(const as_logs & read) {
    if (read.ids.empty()) {
        return;  // gate inputs alone
    }
    fuzz::promised(read_log(fuzz::memory_file(read.text).path()).ids == read.ids, "our text log reads back");
    selections first_blocks;
    for (const auto & [id, list] : read.ids) {
        if (id.block == 0) {
            first_blocks[id] = list;
        }
    }
    if (!first_blocks.empty()) {
        fuzz::promised(read_log(fuzz::memory_file(read.csv).path()).ids == first_blocks, "our CSV log reads back");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    const std::string text = fuzz::text_of(data, size);
    check_lines(text);
    const fuzz::memory_file file(text);
    as_logs                 read;
    try {
        fuzz::read_source(file.path());
        read = read_log(file.path());
    } catch (const error &) {
        return 0;  // anything else ends the run
    }
    check_written(read);  // our own logs are not refused
    return 0;
}
