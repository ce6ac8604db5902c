#pragma once

#include <cstdint>
#include <string>

#include "report/page_data.hpp"
#include "stats/moestats.hpp"

namespace moescope::report {

// What the page shows of a profile: the sums of a whole corpus, by expert and by label, and no tokens. source.format is
// "profile", source.program the corpora. Pairs are there where the profile has them and where they are at most max_pair_cells.
page_run run_of_profile(const stats::moestats & s, const std::string & path, uint64_t max_pair_cells);

}  // namespace moescope::report
