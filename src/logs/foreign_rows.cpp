// The second half of foreign_log: from the lines of an ubatch to the views that next() hands out.

#include <algorithm>
#include <iterator>

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
    build(u);
    ubatch_ += 1;
    return true;
}

// Selections and gate inputs of one block are one block only where they have the same rows; else the gate inputs follow
// as an ubatch of their own.
void foreign_log::split_gate() {
    const bool fits = std::all_of(pending_.begin(), pending_.end(), [](const pending_block & b) {
        return b.ids.rows.empty() || b.gate.rows.empty() || b.ids.rows.size() == b.gate.rows.size();
    });
    if (fits) {
        return;
    }
    for (pending_block & b : pending_) {
        if (!b.gate.rows.empty()) {
            later_.emplace_back(b);
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
    token_.assign(tokens_.size(), -1);
    pos_ = seq_ = token_;
    for (size_t t = 0; t < tokens_.size() && positional_; ++t) {
        pos_[t] = tokens_[t].token >= 0 && tokens_[t].token <= INT32_MAX ? static_cast<int32_t>(tokens_[t].token) : -1;
        seq_[t] = tokens_[t].sequence;
    }
    phases_.assign(tokens_.size(), phase_of_ubatch());
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

void foreign_log::build(routed_ubatch & u) {
    number_tokens();
    layout_.assign(pending_.size(), {});
    built_.resize(std::max(built_.size(), pending_.size()));
    blocks_.assign(pending_.size(), {});
    for (size_t i = 0; i < pending_.size(); ++i) {
        build_block(pending_[i], i);
    }
    u        = {};
    u.batch  = static_cast<uint32_t>(ubatch_);
    u.token  = token_;
    u.pos    = pos_;
    u.seq    = seq_;
    u.phases = phases_;
    u.layout = &layout_;
    u.blocks = blocks_;
}

void foreign_log::build_block(const pending_block & b, size_t i) {
    const shape &            s    = shapes_[b];
    const std::vector<row> & rows = b.rows();
    block_layout &           l    = layout_[i];
    built_block &            out  = built_[i];
    l                             = {b.id()};
    l.n_expert                    = n_expert_;
    l.n_expert_used               = s.k;
    l.n_embd                      = s.n_embd;
    blocks_[i].layout             = &l;
    blocks_[i].n_rows             = static_cast<uint32_t>(rows.size());

    out.row_token.clear();
    if (rows.size() != tokens_.size()) {
        for (const row & r : rows) {  // by position; rows that only have a number of their own stay unknown
            const auto it = r.token < 0 ? tokens_.end() : std::find(tokens_.begin(), tokens_.end(), r);
            out.row_token.push_back(it == tokens_.end() ? -1 : static_cast<int32_t>(it - tokens_.begin()));
        }
        blocks_[i].row_token = out.row_token;
    }
    out.ids.clear();
    if (b.ids.rows.empty()) {
        l.n_expert_used = 0;  // gate inputs alone
    } else {
        l.columns = column::ids;
        for (const uint32_t id : b.id_values) {
            for (uint32_t byte = 0; byte < l.id_bytes(); ++byte) {
                out.ids.push_back(static_cast<uint8_t>(id >> (8 * byte)));
            }
        }
    }
    blocks_[i].ids = out.ids.data();
    add_column(b.weights, rows, column::weights, s.k, i);
    add_column(b.logits, rows, column::logits, n_expert_, i);
    add_column(b.probs, rows, column::probs, n_expert_, i);
    add_column(b.gate, b.gate.rows, column::gate_input, s.n_embd, i);
}

// Adds a column where the log has it for each of the rows, by their tokens. Returns whether it did.
bool foreign_log::add_column(const table & t, const std::vector<row> & rows, column column, uint32_t width, size_t i) {
    if (t.rows.empty() || rows.empty()) {
        return false;
    }
    const size_t         at  = column_index(column);
    std::vector<float> & out = built_[i].values[at];
    if (t.rows == rows) {
        out = t.values;
    } else {
        out.clear();
        size_t hint = 0;  // both follow the batch, so a row's values are seldom far from the last one's
        for (const row & r : rows) {
            auto it = std::find(t.rows.begin() + static_cast<std::ptrdiff_t>(hint), t.rows.end(), r);
            if (r.token < 0 || it == t.rows.end()) {
                return false;
            }
            hint = static_cast<size_t>(it - t.rows.begin());
            out.insert(out.end(), t.values.begin() + static_cast<std::ptrdiff_t>(hint * width),
                       t.values.begin() + static_cast<std::ptrdiff_t>((hint + 1) * width));
        }
    }
    layout_[i].columns    = layout_[i].columns | column;
    blocks_[i].values[at] = out.data();
    return true;
}

}  // namespace moescope::logs
