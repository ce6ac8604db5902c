#include "profile/checkpoint.hpp"

#include <unistd.h>

#include "core/error.hpp"
#include "io/path.hpp"
#include "stats/merge.hpp"

namespace moescope::profile {

namespace {

bool same_corpus(const stats::corpus_part & a, const stats::corpus_part & b) {
    return a.hash == b.hash && a.bytes == b.bytes && a.selection == b.selection;
}

// Why one cannot be gone on with by the other, in words; empty: it can.
std::string why_not(const stats::moestats & before, const stats::moestats & begun) {
    if (std::string d = stats::difference(before, begun); !d.empty()) {
        return d;
    }
    if (before.how_computed != begun.how_computed) {
        return "the ubatch size (-ub) or the number of sequences (-np) differs";
    }
    if (before.labels != begun.labels) {
        return "the labels differ";
    }
    if (before.corpora.size() != 1 || !same_corpus(before.corpora.front(), begun.corpora.front())) {
        return "the corpus differs, or the part of it that is taken";
    }
    return "";
}

}  // namespace

std::string moestats_path(const std::string & json_path) {
    return io::without_suffix(json_path, ".json") + ".moestats";
}

std::optional<stats::moestats> read_checkpoint(const std::string & path, const stats::moestats & begun) {
    if (::access(path.c_str(), F_OK) != 0) {
        return std::nullopt;
    }
    stats::moestats before = stats::read_moestats(path);
    if (const std::string why = why_not(before, begun); !why.empty()) {
        throw error("this profile cannot be resumed: " + why)
            .in(path)
            .fix("use the same options as before, or another --output");
    }
    return before;
}

}  // namespace moescope::profile
