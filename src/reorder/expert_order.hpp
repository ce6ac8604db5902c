#pragma once

#include <cstdint>
#include <vector>

#include "analysis/coactivation.hpp"
#include "gguf/moe_shape.hpp"

namespace moescope::reorder {

// Which experts may take each other's places without the model becoming another: [n_expert] a number for each place, and
// experts stay among the places of theirs. Without groups all are alike. A router that selects groups first keeps each expert
// in its group. GroveMoE's chunks keep their experts, and the experts whose numbers are those of chunks stay where they are,
// because llama.cpp weighs the adjugate expert of chunk c by the probability of expert number c.
std::vector<uint32_t> interchangeable_places(const gguf::moe_shape & shape);

// An order in which experts that serve the same tokens are neighbours, the hot ones first: old ids by new place. Maximises
// the sum of N(a, b) over neighbours, as the bond energy algorithm does (McCormick, Schweitzer and White 1972): a token that
// selects k experts then reads fewest stretches. The path is joined from fragments, the strongest bond first, and improved by
// reversing stretches until none helps (2-opt, Croes 1958). It is then cut where neighbours meet no more often than random
// routing would have them, and the pieces are laid in the order of their heat.
// pairs: within one block (pairs_within); cells: interchangeable_places().
std::vector<int32_t> order_by_coactivation(const analysis::pair_counts & pairs, const std::vector<uint32_t> & cells);

}  // namespace moescope::reorder
