// The second half of foreign_log: from the lines of a ubatch to the views that next() hands out.

#include <algorithm>
#include <numeric>

#include "logs/foreign_log.hpp"

namespace moescope::logs {

bool foreign_log::next(routed_ubatch & u) {
    if (!later_.empty()) {
        pending_ = std::move(later_);
        later_.clear();
        positional_ = false;
    } else {
        do {
            if (!read_group()) {
                return false;
            }
            // Blocks of which no row could be read.
            pending_.erase(std::remove_if(pending_.begin(), pending_.end(),
                                          [](const pending_block & b) { return b.rows().empty(); }),
                           pending_.end());
        } while (pending_.empty());
        split_gate();
    }
    build();
    u = built_.view();
    ubatch_ += 1;
    return true;
}

// Selections and gate inputs of one block are one block only where they have the same rows; else the gate inputs follow
// as a ubatch of their own.
void foreign_log::split_gate() {
    const bool fits = std::all_of(pending_.begin(), pending_.end(), [](const pending_block & b) {
        return b.ids.rows.empty() || b.gate.rows.empty() || b.ids.rows.size() == b.gate.rows.size();
    });
    if (fits) {
        return;
    }
    for (pending_block & b : pending_) {
        if (!b.gate.rows.empty()) {
            later_.emplace_back(b.id());  // without the selections
            later_.back().gate = std::move(b.gate);
            b.gate             = {};
        }
    }
    pending_.erase(
        std::remove_if(pending_.begin(), pending_.end(), [](const pending_block & b) { return b.rows().empty(); }),
        pending_.end());
}

// The ubatch's tokens are the rows of the block that has most of them.
void foreign_log::number_tokens() {
    const auto most =
        std::max_element(pending_.begin(), pending_.end(), [](const pending_block & a, const pending_block & b) {
            return a.rows().size() < b.rows().size();
        });
    tokens_ = most->rows();
    built_.set_tokens(tokens_.size());
    for (size_t t = 0; t < tokens_.size() && positional_; ++t) {
        const int64_t pos = tokens_[t].token;
        built_.pos[t]     = pos >= 0 && pos <= INT32_MAX ? static_cast<int32_t>(pos) : -1;
        built_.seq[t]     = tokens_[t].sequence;
    }
    built_.phases.assign(tokens_.size(), phase_of_ubatch());
}

uint8_t foreign_log::phase_of_ubatch() {
    bool decoded;
    if (knows_prompt_) {
        decoded = prompt_left_ == 0;
        prompt_left_ -= std::min<uint64_t>(prompt_left_, tokens_.size());
    } else {
        const int64_t token = tokens_[0].token;
        decoded             = ubatch_ > 0 && tokens_.size() == 1 && (positional_ ? token != 0 : token <= 0);
    }
    return static_cast<uint8_t>(decoded ? phase::decode : phase::prefill);
}

void foreign_log::build() {
    built_.clear();
    number_tokens();
    built_.batch = static_cast<uint32_t>(ubatch_);
    for (const pending_block & b : pending_) {
        build_block(b);
    }
}

void foreign_log::build_block(const pending_block & b) {
    const std::vector<row> & rows = b.rows();
    const shape &            s    = shapes_[b];
    block_layout             l{b.id()};
    l.n_expert      = n_expert_;
    l.n_expert_used = b.ids.rows.empty() ? 0 : s.k;  // 0: gate inputs alone
    l.n_embd        = s.n_embd;
    l.columns       = b.ids.rows.empty() ? column_set() : column::ids;
    std::vector<size_t> places[n_float_columns];
    for (const column c : float_columns) {
        places[column_index(c)] = places_of(b, c);
        l.columns               = places[column_index(c)].empty() ? l.columns : l.columns | c;
    }
    built_.layout.push_back(l);
    built_.add_block(static_cast<uint32_t>(rows.size()), rows.size() != tokens_.size());
    for (size_t r = 0; r < rows.size() && rows.size() != tokens_.size(); ++r) {
        // By position; rows that only have a number of their own stay unknown.
        const auto it          = rows[r].token < 0 ? tokens_.end() : std::find(tokens_.begin(), tokens_.end(), rows[r]);
        built_.row_tokens()[r] = it == tokens_.end() ? -1 : static_cast<int32_t>(it - tokens_.begin());
    }
    for (size_t i = 0; i < b.id_values.size(); ++i) {
        built_.set_id(i, b.id_values[i]);
    }
    for (const column c : float_columns) {
        copy_rows(b, c, places[column_index(c)]);
    }
}

// Where the block's rows stand in a column's table, by their tokens. Empty where one of them is not there: then the block
// does not have the column.
std::vector<size_t> foreign_log::places_of(const pending_block & b, column c) {
    const table * t = b.table_of(c);
    if (t == nullptr) {
        return {};
    }
    const std::vector<row> & rows = c == column::gate_input ? t->rows : b.rows();
    std::vector<size_t>      places(rows.size());
    std::iota(places.begin(), places.end(), size_t{0});
    if (t->rows == rows) {
        return places;
    }
    size_t at = 0;  // both follow the batch, so a row's values are seldom far from the last one's
    for (size_t r = 0; r < rows.size(); ++r) {
        const auto it = std::find(t->rows.begin() + static_cast<std::ptrdiff_t>(at), t->rows.end(), rows[r]);
        if (rows[r].token < 0 || it == t->rows.end()) {
            return {};
        }
        at = places[r] = static_cast<size_t>(it - t->rows.begin());
    }
    return places;
}

void foreign_log::copy_rows(const pending_block & b, column c, const std::vector<size_t> & places) {
    const size_t width = built_.layout.back().width(c);
    float *      to    = built_.values(column_index(c));
    for (const size_t place : places) {
        const table & t = *b.table_of(c);
        to = std::copy_n(t.values.begin() + static_cast<std::ptrdiff_t>(place * (t.values.size() / t.rows.size())),
                         width, to);
    }
}

}  // namespace moescope::logs
