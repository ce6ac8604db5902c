#include "capture/drafts.hpp"

#include <algorithm>
#include <set>

namespace moescope::capture {

namespace {

constexpr size_t max_recent = 256;  // more than anybody drafts at once

bool reaches_end(const memory_event & range, int32_t last) {
    return range.p1 < 0 || range.p1 > last;
}

}  // namespace

// ---- the batch ------------------------------------------------------------------------------------------------------

std::vector<memory_event> drafts::unseen(const batch_replay & batch) const {
    std::vector<memory_event> events;
    std::set<int32_t>         looked_at;
    for (const batch_replay::entry & x : batch.entries()) {
        for (const int32_t seq : x.seqs) {
            const auto known = states_.find(seq);
            if (!looked_at.insert(seq).second || known == states_.end() || x.pos <= 0 ||
                x.pos > known->second.last_pos) {
                continue;
            }
            memory_event e;
            e.kind = memory_event::what::remove;
            e.seq  = seq;
            e.p0   = x.pos;
            e.last = known->second.last_pos;
            events.push_back(e);
        }
    }
    return events;
}

void drafts::begin(const batch_replay * batch) {
    entries_.clear();
    uses_.clear();
    if (batch == nullptr) {
        return;
    }
    for (const batch_replay::entry & from : batch->entries()) {
        entry x;
        x.seqs  = from.seqs;
        x.token = from.token;
        x.pos   = from.pos;
        for (const int32_t s : x.seqs) {
            use & u     = uses_[s];
            u.first_pos = u.n_tokens == 0 ? x.pos : u.first_pos;
            u.last_pos  = x.pos;
            u.n_tokens += 1;
            u.n_outputs += from.output;
            u.last_is_output = from.output;
        }
        entries_.push_back(std::move(x));
    }
    for (auto & [seq, u] : uses_) {
        begin_sequence(seq, u);
    }
    for (entry & x : entries_) {
        x.generated = std::any_of(x.seqs.begin(), x.seqs.end(), [&](int32_t s) { return uses_.at(s).generated; });
    }
}

// A prompt asks for the logits of its last token, and what is sampled from then on comes one by one, or with a draft behind it:
// then the logits of all are asked for. A perplexity run asks for those of many tokens, too, but generates nothing.
void drafts::begin_sequence(int32_t seq, use & u) {
    state &    s       = states_[seq];
    const bool several = u.n_tokens > 1, begins = u.first_pos <= 0;
    text_run   run = begins ? text_run() : run_of(seq);
    const bool own = !begins && several && s.generates && u.n_outputs == u.n_tokens;
    // The context of a draft model follows what the other one verifies, and need not ask for logits.
    u.follows  = board_.others_have(this, seq, run);
    u.verifies = own || (several && u.follows);
    // An MTP context computes what the other one does without asking for logits, and then tries the token that is sampled there.
    const bool next = s.asked || u.follows || board_.others_sample(this, seq, u.first_pos);
    u.generated     = u.verifies || (!begins && !several && next);
    s.generates     = u.verifies || (u.n_outputs == 1 && u.last_is_output);
    s.asked         = u.verifies || u.last_is_output;
    board_.post(this, seq, u.generated && !u.follows ? std::move(run) : text_run(), s.asked ? u.last_pos + 1 : -1);
}

text_run drafts::run_of(int32_t seq) const {
    text_run run;
    for (const entry & x : entries_) {
        if (std::find(x.seqs.begin(), x.seqs.end(), seq) != x.seqs.end()) {
            run.first_pos = run.tokens.empty() ? x.pos : run.first_pos;
            run.tokens.push_back(x.token);
        }
    }
    return run;
}

bool drafts::is_generated(size_t i) const {
    return i < entries_.size() && entries_[i].generated;
}

void drafts::placed(size_t i, token_ref where, bool decoded) {
    if (i >= entries_.size()) {
        return;
    }
    entries_[i].where     = where;
    entries_[i].is_placed = true;
    for (const int32_t seq : entries_[i].seqs) {
        state & s  = states_[seq];
        s.last_pos = std::max(s.last_pos, entries_[i].pos);

        std::vector<decoded_token> & recent = s.recent;
        const bool                   maybe  = decoded && !uses_[seq].follows && entries_[i].seqs.size() == 1;
        if (!maybe || recent.size() >= max_recent) {
            recent.clear();
        }
        if (maybe) {
            recent.push_back({entries_[i].token, entries_[i].pos, where});
        }
    }
}

// ---- the memory -----------------------------------------------------------------------------------------------------

std::vector<int32_t> drafts::sequences() const {
    std::vector<int32_t> all;
    for (const auto & known : states_) {
        all.push_back(known.first);
    }
    return all;
}

void drafts::clear() {
    entries_.clear();
    uses_.clear();
    states_.clear();
    board_.forget(this);
}

drafts::judgement drafts::judge(memory_event & e, int32_t last) {
    bool done = true;
    switch (e.kind) {
        case memory_event::what::remove: {
            e.last                = last;
            const judgement found = remove(e) ? judgement{verdict::decided, {}} : judge_text(e, last);
            forget_end(e);
            return found;
        }
        case memory_event::what::copy: done = copy(e); break;
        case memory_event::what::keep: done = keep_only(e); break;
        case memory_event::what::shift:
        case memory_event::what::divide: done = move(e); break;
    }
    return {done ? verdict::decided : verdict::nothing, {}};
}

void drafts::forget_end(const memory_event & e) {
    for (auto & [seq, s] : states_) {
        if (e.concerns(seq) && e.has(s.last_pos)) {
            s.last_pos = std::max(e.p0, 0) - 1;
        }
    }
}

// Whether it rejects drafts that the current batch verifies. The first removal behind the batch decides that.
bool drafts::remove(memory_event & e) {
    const memory_event range = e;
    for (auto & [seq, u] : uses_) {
        if (e.concerns(seq)) {
            const bool rejects = u.verifies && e.p0 >= u.first_pos && reaches_end(e, u.last_pos);
            take_from(seq, range, rejects, e);
            u.verifies = false;
            board_.cut(this, seq, e.p0);
        }
    }
    if (e.taken_back.empty()) {
        return false;
    }
    e.why = memory_event::removal::rejected;
    for (auto & known : states_) {
        if (std::vector<token_ref> gone; e.concerns(known.first)) {
            forget_recent(known.first, range, gone);
        }
    }
    return true;
}

// The sequence loses the batch's tokens in the range. Those that no other has are gone.
void drafts::take_from(int32_t seq, const memory_event & range, bool rejected, memory_event & e) {
    for (entry & x : entries_) {
        const auto at = std::find(x.seqs.begin(), x.seqs.end(), seq);
        if (at == x.seqs.end() || x.pos < 0 || !range.has(x.pos)) {
            continue;
        }
        x.seqs.erase(at);
        if (x.seqs.empty() && rejected && x.is_placed) {
            e.taken_back.push_back(x.where);
        }
    }
}

drafts::judgement drafts::judge_text(memory_event & e, int32_t last) {
    using removal = memory_event::removal;
    if (last < 0 || last < e.p0) {
        return {verdict::nothing, {}};
    }
    const bool to_the_end = reaches_end(e, last);
    e.why                 = !to_the_end ? removal::discard : e.p0 <= 0 ? removal::drop : removal::cut;

    text_run maybe;
    bool     all_recent = false;
    for (auto & [seq, s] : states_) {
        if (!e.concerns(seq)) {
            continue;
        }
        const int32_t first = s.recent.empty() ? -1 : s.recent.front().pos;
        s.generates         = s.generates && !to_the_end;
        s.asked             = s.asked && !to_the_end;
        all_recent          = e.seq >= 0 && to_the_end && first >= 0 && e.p0 >= first;
        std::vector<token_ref> gone;
        maybe = forget_recent(seq, e, gone);
        if (all_recent) {
            e.taken_back = std::move(gone);
        }
    }
    if (all_recent && !e.taken_back.empty() && board_.has_others(this)) {
        return {verdict::undecided, std::move(maybe)};
    }
    e.taken_back.clear();
    return {verdict::decided, {}};
}

void drafts::decide(memory_event & e, const text_run & maybe_drafts) const {
    if (board_.others_tried(this, e.seq, maybe_drafts)) {
        e.why = memory_event::removal::rejected;
    } else {
        e.taken_back.clear();
    }
}

text_run drafts::forget_recent(int32_t seq, const memory_event & range, std::vector<token_ref> & tokens) {
    text_run                     run;
    std::vector<decoded_token> & recent = states_[seq].recent;
    for (const decoded_token & t : recent) {
        if (range.has(t.pos)) {
            run.first_pos = run.tokens.empty() ? t.pos : run.first_pos;
            run.tokens.push_back(t.token);
            tokens.push_back(t.where);
        }
    }
    recent.erase(std::remove_if(recent.begin(), recent.end(), [&](const auto & t) { return range.has(t.pos); }),
                 recent.end());
    return run;
}

bool drafts::keep_only(memory_event & e) {
    const bool there_were_others = states_.size() > states_.count(e.seq);
    for (auto & [seq, u] : uses_) {
        if (seq != e.seq) {
            take_from(seq, {}, u.verifies, e);
            u.verifies = false;
        }
    }
    e.why = e.taken_back.empty() ? memory_event::removal::none : memory_event::removal::rejected;
    for (auto known = states_.begin(); known != states_.end();) {
        known = known->first == e.seq ? std::next(known) : states_.erase(known);
    }
    return there_were_others;
}

bool drafts::copy(const memory_event & e) {
    const auto from = states_.find(e.seq);
    if (from == states_.end() || e.seq == e.to) {
        return false;
    }
    for (entry & x : entries_) {
        const bool there = std::find(x.seqs.begin(), x.seqs.end(), e.seq) != x.seqs.end();
        if (there && e.has(x.pos) && std::find(x.seqs.begin(), x.seqs.end(), e.to) == x.seqs.end()) {
            x.seqs.push_back(e.to);
        }
    }
    state copied = from->second;
    copied.recent.clear();  // they are not this sequence's alone
    states_[e.to] = std::move(copied);
    return true;
}

bool drafts::move(const memory_event & e) {
    if (e.delta == (e.kind == memory_event::what::divide ? 1 : 0)) {
        return false;
    }
    bool known = false;
    for (auto & [seq, s] : states_) {
        if (e.concerns(seq)) {
            known      = true;
            s.last_pos = e.moved(s.last_pos);
            for (decoded_token & t : s.recent) {
                t.pos = e.moved(t.pos);
            }
        }
    }
    for (entry & x : entries_) {
        if (std::any_of(x.seqs.begin(), x.seqs.end(), [&](int32_t s) { return e.concerns(s); })) {
            x.pos = e.moved(x.pos);
        }
    }
    return known;
}

}  // namespace moescope::capture
