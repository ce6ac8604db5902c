#include "cli/help/nearest.hpp"

#include <algorithm>

namespace moescope::cli {

namespace {

size_t edit_distance(const std::string & a, const std::string & b) {
    std::vector<size_t> before_last, last(b.size() + 1), row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a.size(); ++i) {
        before_last = last;
        last        = row;
        row[0]      = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = std::min(row[j], before_last[j - 2] + 1);
            }
        }
    }
    return row[b.size()];
}

}  // namespace

std::string nearest(const std::string & word, const std::vector<std::string> & known) {
    std::string best;
    size_t      least = std::max<size_t>(1, word.size() / 3) + 1;
    for (const std::string & k : known) {
        if (const size_t d = edit_distance(word, k); d < least) {
            least = d;
            best  = k;
        }
    }
    if (best.empty() && word.size() >= 3) {
        const auto longer = std::find_if(known.begin(), known.end(),
                                         [&](const std::string & k) { return k.compare(0, word.size(), word) == 0; });
        return longer == known.end() ? "" : *longer;
    }
    return best;
}

std::string did_you_mean(const std::string & word, const std::vector<std::string> & known) {
    const std::string meant = nearest(word, known);
    return meant.empty() ? "" : "; did you mean '" + meant + "'?";
}

}  // namespace moescope::cli
