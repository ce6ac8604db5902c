#include "sql/run.hpp"

#include <algorithm>

#include "io/path.hpp"
#include "sql/text.hpp"
#include "trace/format.hpp"

namespace moescope::sql {

std::vector<run> name_runs(const std::vector<std::string> & paths) {
    std::vector<run> runs;
    for (const std::string & path : paths) {
        const std::string stem = valid_utf8(io::without_suffix(io::base_name(path), trace::file_suffix));
        std::string       name = stem;
        for (int n = 2; std::any_of(runs.begin(), runs.end(), [&](const run & r) { return r.name == name; }); ++n) {
            name = stem + "#" + std::to_string(n);
        }
        runs.push_back({name, path});
    }
    return runs;
}

}  // namespace moescope::sql
