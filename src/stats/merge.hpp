#pragma once

#include <string>

#include "stats/moestats.hpp"

namespace moescope::stats {

// Adds `from` to `to`. Throws error naming both files and the difference when they are profiles of other models or were
// made with other options, when one is not complete, or when both hold parts of one corpus that may have samples in
// common (these would count twice; only the shards of one run surely have none). Names are for messages.
void merge_into(moestats & to, const std::string & to_name, const moestats & from, const std::string & from_name);

// Adds another shard of the same run: sums and counts join, and the first corpus entry grows to speak of both.
void add_shard(moestats & to, const moestats & from);

// The first difference that forbids to add two profiles up or to go on with one, in words; empty: there is none.
std::string difference(const moestats & a, const moestats & b);

}  // namespace moescope::stats
