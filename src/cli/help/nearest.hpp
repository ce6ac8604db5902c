#pragma once

#include <string>
#include <vector>

namespace moescope::cli {

// The one of `known` that `word` was probably meant to be: fewest insertions, deletions, replacements and swaps of
// neighbours (Damerau 1964, optimal string alignment), at most a third of the word's length; or which begins with it.
// Empty where none is near.
std::string nearest(const std::string & word, const std::vector<std::string> & known);

// "; did you mean 'record'?", or nothing.
std::string did_you_mean(const std::string & word, const std::vector<std::string> & known);

}  // namespace moescope::cli
