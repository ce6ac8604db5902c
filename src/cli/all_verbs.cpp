#include "cli/verbs.hpp"

namespace moescope::cli {

std::vector<add_verb> all_verbs() {
    return {
        add_record,  add_run, add_profile, add_merge, add_stats, add_info,   add_check,
        add_analyze, add_sql, add_export,  add_map,   add_prune, add_report, add_serve,
    };
}

}  // namespace moescope::cli
