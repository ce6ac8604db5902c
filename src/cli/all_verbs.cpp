#include "cli/verbs.hpp"

namespace moescope::cli {

std::vector<verb_group> all_verbs() {
    return {
        {"Watch", {add_record, add_run, add_profile}},
        {"Ask", {add_stats, add_info, add_check, add_analyze, add_sql, add_map}},
        {"Change", {add_merge, add_prune, add_evaluate, add_reorder}},
        {"Share", {add_report, add_serve, add_export}},
        {"Help", {add_doctor, add_help}},
    };
}

}  // namespace moescope::cli
