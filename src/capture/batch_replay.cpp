#include "capture/batch_replay.hpp"

#include <algorithm>
#include <set>

#include <llama.h>

namespace moescope::capture {

namespace {

bool overlap(const std::vector<int32_t> & a, const std::vector<int32_t> & b) {
    return std::any_of(a.begin(), a.end(), [&](int32_t s) { return std::binary_search(b.begin(), b.end(), s); });
}

}  // namespace

void batch_replay::begin_unknown() {
    entries_.clear();
    ways_.clear();
    tokens_of_seq_.clear();
}

void batch_replay::begin(const llama_batch & batch, const std::vector<int32_t> & first_pos) {
    begin_unknown();
    std::vector<int32_t> next_pos = first_pos;
    entries_.resize(static_cast<size_t>(std::max(batch.n_tokens, 0)));
    for (size_t i = 0; i < entries_.size(); ++i) {
        entry & e = entries_[i];
        if (batch.seq_id != nullptr && batch.n_seq_id != nullptr) {
            e.seqs.assign(batch.seq_id[i], batch.seq_id[i] + batch.n_seq_id[i]);
        } else {
            e.seqs = {0};  // llama.cpp's default
        }
        e.seq   = e.seqs.empty() ? 0 : e.seqs[0];
        e.token = batch.token != nullptr ? batch.token[i] : -1;
        if (batch.pos != nullptr) {
            e.pos = batch.pos[i];
        } else if (static_cast<size_t>(e.seq) < next_pos.size() && next_pos[static_cast<size_t>(e.seq)] >= 0) {
            e.pos = next_pos[static_cast<size_t>(e.seq)];
            for (const int32_t s : e.seqs) {
                if (static_cast<size_t>(s) < next_pos.size()) {
                    next_pos[static_cast<size_t>(s)] = e.pos + 1;
                }
            }
        }
        std::sort(e.seqs.begin(), e.seqs.end());
        const size_t s = static_cast<size_t>(std::max(e.seq, 0));
        tokens_of_seq_.resize(std::max(tokens_of_seq_.size(), s + 1));
        tokens_of_seq_[s] += 1;
        e.output = batch.logits == nullptr || batch.logits[i] != 0;
    }
    if (batch.logits == nullptr) {
        leave_last_outputs();
    }
    for (const split how : {split::simple, split::equal, split::equal_increasing, split::by_sequence}) {
        if (entries_.size() == 1 && how != split::simple) {
            break;  // a token alone can be split in one way only
        }
        ways_.push_back({how, std::vector<char>(entries_.size(), 0)});
    }
}

// Where nothing is said, a text asks for the logits of its last token.
void batch_replay::leave_last_outputs() {
    std::set<int32_t> ended;
    for (auto e = entries_.rbegin(); e != entries_.rend(); ++e) {
        e->output = ended.insert(e->seq).second;
    }
}

bool batch_replay::alone(int32_t seq_id) const {
    return static_cast<size_t>(seq_id) < tokens_of_seq_.size() && tokens_of_seq_[static_cast<size_t>(seq_id)] == 1;
}

std::vector<batch_replay::rows> batch_replay::next(const way & w, size_t n) const {
    switch (w.how) {
        case split::simple: return {next_simple(w, n)};
        case split::equal: return next_equal(w, n, false);
        case split::equal_increasing: return next_equal(w, n, true);
        case split::by_sequence: return {next_by_sequence(w, n)};
    }
    return {};
}

batch_replay::rows batch_replay::next_simple(const way & w, size_t n) const {
    rows taken;
    for (size_t i = 0; i < entries_.size() && taken.size() < n; ++i) {
        if (!w.used[i]) {
            taken.push_back(i);
        }
    }
    return taken;
}

// The same number of tokens of each of several non-overlapping sequence sets, one set after the other. How many sets take
// part follows from the batch, except that trailing ones may be put off to keep their last tokens together: each number of
// sets is a way of its own from here on.
std::vector<batch_replay::rows> batch_replay::next_equal(const way & w, size_t n, bool increasing) const {
    std::vector<const std::vector<int32_t> *> sets;
    int32_t                                   last = -1;
    for (size_t i = 0; i < entries_.size(); ++i) {
        const entry & e        = entries_[i];
        const bool    overlaps = std::any_of(sets.begin(), sets.end(), [&](auto * s) { return overlap(*s, e.seqs); });
        if (w.used[i] || overlaps || (increasing && !sets.empty() && e.seq != last + 1)) {
            continue;
        }
        sets.push_back(&e.seqs);
        last = e.seq;
    }
    std::vector<rows> candidates;
    for (size_t n_sets = sets.size(); n_sets > 0; --n_sets) {
        if (n % n_sets != 0) {
            continue;
        }
        rows taken;
        for (size_t s = 0; s < n_sets; ++s) {
            const size_t want = taken.size() + n / n_sets;
            for (size_t i = 0; i < entries_.size() && taken.size() < want; ++i) {
                if (!w.used[i] && entries_[i].seqs == *sets[s]) {
                    taken.push_back(i);
                }
            }
        }
        candidates.push_back(std::move(taken));
    }
    return candidates;
}

batch_replay::rows batch_replay::next_by_sequence(const way & w, size_t n) const {
    rows                         taken;
    const std::vector<int32_t> * set = nullptr;
    for (size_t i = 0; i < entries_.size() && taken.size() < n; ++i) {
        const std::vector<int32_t> & s = entries_[i].seqs;
        if (!w.used[i] && (set == nullptr || std::includes(set->begin(), set->end(), s.begin(), s.end()))) {
            taken.push_back(i);
            set = &s;
        }
    }
    return taken;
}

bool batch_replay::fits(const rows & taken, span<const int32_t> tokens, span<int32_t> pos) const {
    if (taken.size() != tokens.size()) {
        return false;
    }
    for (size_t r = 0; r < taken.size(); ++r) {
        const entry & e = entries_[taken[r]];
        if ((tokens[r] >= 0 && e.token >= 0 && tokens[r] != e.token) ||
            (pos[r] >= 0 && e.pos >= 0 && pos[r] != e.pos)) {
            return false;
        }
    }
    return true;
}

bool batch_replay::attribute(span<const int32_t> tokens, span<int32_t> pos, span<int32_t> seq) {
    constexpr size_t  max_ways = 64;  // more: it is not known which
    std::vector<rows> fitting;
    std::vector<way>  going_on;
    for (const way & w : ways_) {
        for (rows & taken : next(w, tokens.size())) {
            if (!fits(taken, tokens, pos)) {
                continue;
            }
            going_on.push_back(w);
            for (const size_t i : taken) {
                going_on.back().used[i] = 1;
            }
            if (std::find(fitting.begin(), fitting.end(), taken) == fitting.end()) {
                fitting.push_back(std::move(taken));
            }
        }
    }
    ways_ = going_on.size() <= max_ways ? std::move(going_on) : std::vector<way>();
    found_.assign(tokens.size(), nowhere);
    for (size_t r = 0; r < tokens.size() && !fitting.empty(); ++r) {
        const entry & first    = entries_[fitting[0][r]];
        bool          same_seq = true, same_pos = true, same = true;
        for (const rows & taken : fitting) {
            same     = same && taken[r] == fitting[0][r];
            same_seq = same_seq && entries_[taken[r]].seq == first.seq;
            same_pos = same_pos && entries_[taken[r]].pos == first.pos;
        }
        seq[r]    = same_seq ? first.seq : -1;
        found_[r] = same ? fitting[0][r] : nowhere;
        if (pos[r] < 0 && same_pos) {
            pos[r] = first.pos;
        }
    }
    return !fitting.empty();
}

}  // namespace moescope::capture
