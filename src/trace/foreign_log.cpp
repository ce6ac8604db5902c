#include "trace/foreign_log.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "trace/row_text.hpp"

namespace moescope::trace {

namespace {

using kind  = foreign_line::kind;
using title = foreign_line::title;

constexpr uint32_t bit(kind k) { return 1u << static_cast<uint32_t>(k); }

bool is_row(kind k) { return k == kind::token_row || k == kind::selection_weights || k == kind::selection || k == kind::gate; }

}  // namespace

foreign_log::foreign_log(const std::string & path) : path_(path), in_(path, std::ios::binary) {
    if (!in_) {
        throw error("cannot open").in(path);
    }
    rewind();
    while (read_group()) {
        ubatch_ += 1;
    }
    if (n_rows_ == 0) {
        throw error(n_malformed_ > 0 ? "no line of the log makes sense; " + first_malformed_
                                     : "neither a moescope trace nor a log that moescope reads")
            .in(path)
            .fix("docs/formats.md lists what it reads");
    }
    describe();
    first_pass_ = false;
    rewind();
}

void foreign_log::rewind() {
    in_.clear();
    in_.seekg(0);
    line_number_ = ubatch_ = prompt_left_ = 0;
    has_line_ = in_prompt_ = knows_prompt_ = false;
    section_  = {};
    pending_.clear();
    later_.clear();
}

void foreign_log::describe() {
    const auto seen = [&](kind k) { return (kinds_ & bit(k)) != 0; };
    const auto add  = [&](const char * name) { info_.format += (info_.format.empty() ? "" : "+") + std::string(name); };
    info_.path = path_;
    info_.format.clear();
    if (seen(kind::token_row)) {
        add("log");
    }
    if (seen(kind::selection_weights)) {
        add("csv");
    }
    if (seen(kind::selection)) {
        add("selection-csv");
    }
    if (seen(kind::gate)) {
        add("gate-csv");
    }
    in_.clear();
    in_.seekg(0, std::ios::end);
    info_.bytes = static_cast<uint64_t>(in_.tellg());
    info_.ended = true;

    if (n_expert_ <= largest_id_ && has_ids_) {
        if (has_shape_line_) {
            info_.notes.push_back("the log names expert " + std::to_string(largest_id_) + " of n_experts=" + std::to_string(n_expert_));
        } else {
            info_.notes.push_back("the log does not say how many experts there are: taken as the largest id + 1, " +
                                  std::to_string(largest_id_ + 1));
        }
        n_expert_ = largest_id_ + 1;
    }
    if (!seen(kind::token_row)) {
        info_.notes.push_back("the log does not say which tokens were generated: a batch of one row behind the first batch counts "
                              "as generated");
    }
    if (n_malformed_ > 0) {
        info_.notes.push_back(std::to_string(n_malformed_) + (n_malformed_ == 1 ? " line makes" : " lines make") +
                              " no sense and " + (n_malformed_ == 1 ? "is" : "are") + " left out; the first: " + first_malformed_);
    }
    model_.n_expert = n_expert_;
    for (const auto & [key, s] : shapes_) {
        model_.n_expert_used = std::max(model_.n_expert_used, s.k);
        model_.n_embd        = std::max(model_.n_embd, s.n_embd);
    }
}

graph_layout foreign_log::blocks() const {
    graph_layout all;
    for (const auto & [key, s] : shapes_) {
        block_layout b;
        b.layer         = key.first;
        b.block         = key.second;
        b.n_expert      = n_expert_;
        b.n_expert_used = s.k;
        b.n_embd        = s.n_embd;
        b.columns       = s.columns;
        all.push_back(b);
    }
    return all;
}

void foreign_log::malformed(const std::string & why) {
    if (first_pass_) {
        if (n_malformed_++ == 0) {
            first_malformed_ = "line " + std::to_string(line_number_) + ": " + why;
        }
    }
}

// ---- from lines to the ubatch at hand ------------------------------------------------------------------------------

// Gathers the lines of one ubatch. The line that begins the next one stays in line_.
bool foreign_log::read_group() {
    pending_.clear();
    positional_ = false;
    std::string text;
    for (;;) {
        if (!has_line_) {
            if (!std::getline(in_, text)) {
                return !pending_.empty();
            }
            line_number_ += 1;
            parse_foreign_line(text, line_);
        }
        has_line_ = false;
        if (in_prompt_ && line_.what != kind::prompt_tokens && line_.what != kind::section) {
            continue;   // a prompt of several lines
        }
        in_prompt_ = line_.what == kind::prompt;
        if (!line_.problem.empty()) {
            malformed(line_.problem);
            continue;
        }
        if (begins_ubatch(line_)) {
            has_line_ = true;
            return true;
        }
        take(line_);
    }
}

bool foreign_log::begins_ubatch(const foreign_line & l) const {
    if (pending_.empty()) {
        return false;
    }
    if (l.what == kind::prompt || l.what == kind::prompt_tokens) {
        return true;
    }
    const bool opens_block = l.what == kind::section || l.what == kind::selection || l.what == kind::selection_weights ||
                             l.what == kind::gate;
    if (!opens_block) {
        return false;
    }
    const pending_block & latest = pending_.back();
    if (latest.layer == l.layer && latest.block == l.block) {
        // The same layer goes on, unless a section of its log, or the rows of its gate inputs, begin again.
        if (l.what == kind::section) {
            return (l.about == title::ids && !latest.ids.rows.empty()) || (l.about == title::weights && !latest.weights.rows.empty()) ||
                   (l.about == title::logits && (!latest.logits.rows.empty() || !latest.ids.rows.empty())) ||
                   (l.about == title::probs && (!latest.probs.rows.empty() || !latest.ids.rows.empty()));
        }
        return l.what == kind::gate && !latest.gate.rows.empty() && l.token >= 0 && l.token <= latest.gate.rows.back().token;
    }
    return std::any_of(pending_.begin(), pending_.end(),
                       [&](const pending_block & b) { return b.layer == l.layer && b.block == l.block; });
}

foreign_log::pending_block & foreign_log::block_of(int32_t layer, int32_t block) {
    if (pending_.empty() || pending_.back().layer != layer || pending_.back().block != block) {
        pending_.emplace_back();
        pending_.back().layer = layer;
        pending_.back().block = block;
    }
    return pending_.back();
}

void foreign_log::take(foreign_line & l) {
    if (is_row(l.what)) {
        kinds_ |= bit(l.what);
    }
    switch (l.what) {
        case kind::prompt_tokens:
            prompt_left_ += static_cast<uint64_t>(std::max<int64_t>(0, l.token));
            knows_prompt_ = true;
            break;
        case kind::section:
            section_ = l;
            if (l.about != title::none) {
                block_of(l.layer, l.block);
            }
            break;
        case kind::shape:
            if (first_pass_) {
                n_expert_       = std::max(n_expert_, l.n_expert);
                has_shape_line_ = true;
            }
            break;
        case kind::token_row: {
            if (section_.about == title::none) {
                break;   // a section that we do not know
            }
            positional_       = true;
            pending_block & b = block_of(section_.layer, section_.block);
            shape &         s = shape_of(b.layer, b.block);
            if (l.cut) {
                malformed("its list is cut (--max-columns)");
            } else if (section_.about == title::ids) {
                if (values_as_ids(l)) {
                    add_ids(b, l);
                } else {
                    malformed("these are no expert ids");
                }
            } else if (section_.about == title::weights) {
                add_values(b.weights, s.k, capture::weights, b, l);
            } else {
                add_values(section_.about == title::logits ? b.logits : b.probs, n_expert_,
                           section_.about == title::logits ? capture::logits : capture::probs, b, l);
            }
            break;
        }
        case kind::selection_weights:
        case kind::selection: {
            positional_       = positional_ || l.what == kind::selection_weights;
            pending_block & b = block_of(l.layer, 0);
            const size_t    n = b.ids.rows.size();
            l.sequence        = -1;   // not said
            add_ids(b, l);
            if (!l.values.empty() && b.ids.rows.size() > n) {
                add_values(b.weights, shape_of(l.layer, 0).k, capture::weights, b, l);
            }
            break;
        }
        case kind::gate: {
            pending_block & b = block_of(l.layer, 0);
            add_values(b.gate, shape_of(l.layer, 0).n_embd, capture::gate_input, b, l);
            break;
        }
        default: break;
    }
}

void foreign_log::add_ids(pending_block & b, const foreign_line & l) {
    shape & s = shape_of(b.layer, b.block);
    if (s.k == 0) {
        s.k = section_.about == title::ids && section_.k > 0 ? section_.k : static_cast<uint32_t>(l.ids.size());
    }
    if (l.ids.size() != s.k) {
        malformed(std::to_string(l.ids.size()) + " ids where layer " + std::to_string(b.layer) + " selects " + std::to_string(s.k));
        return;
    }
    b.ids.rows.push_back({l.token, l.sequence});
    b.id_values.insert(b.id_values.end(), l.ids.begin(), l.ids.end());
    if (first_pass_) {
        s.columns   = s.columns | capture::ids;
        largest_id_ = std::max(largest_id_, *std::max_element(l.ids.begin(), l.ids.end()));
        has_ids_    = true;
        n_rows_ += 1;
    }
}

void foreign_log::add_values(table & t, uint32_t & width, capture column, const pending_block & b, const foreign_line & l) {
    if (width == 0) {
        width = static_cast<uint32_t>(l.values.size());
    }
    if (l.values.empty() || l.values.size() != width) {
        malformed(std::to_string(l.values.size()) + " values where layer " + std::to_string(b.layer) + " has " + std::to_string(width));
        return;
    }
    t.rows.push_back({l.token, l.sequence});
    t.values.insert(t.values.end(), l.values.begin(), l.values.end());
    if (first_pass_) {
        shape & s = shape_of(b.layer, b.block);
        s.columns = s.columns | column;
        n_rows_ += column == capture::gate_input;
    }
}

// ---- from the lines of an ubatch to its views ------------------------------------------------------------------------

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
            pending_.erase(std::remove_if(pending_.begin(), pending_.end(), [](const pending_block & b) { return b.rows().empty(); }),
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
            later_.emplace_back();
            later_.back().layer = b.layer;
            later_.back().block = b.block;
            later_.back().gate  = std::move(b.gate);
            b.gate              = {};
        }
    }
    pending_.erase(std::remove_if(pending_.begin(), pending_.end(), [](const pending_block & b) { return b.rows().empty(); }),
                   pending_.end());
}

// The ubatch's tokens are the rows of the block that has most of them.
void foreign_log::number_tokens() {
    const auto most = std::max_element(pending_.begin(), pending_.end(), [](const pending_block & a, const pending_block & b) {
        return a.rows().size() < b.rows().size();
    });
    tokens_ = most->rows();
    token_.assign(tokens_.size(), -1);
    pos_ = seq_ = token_;
    for (size_t t = 0; t < tokens_.size() && positional_; ++t) {
        pos_[t] = static_cast<int32_t>(std::min<int64_t>(tokens_[t].token, INT32_MAX));
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
        decoded = ubatch_ > 0 && tokens_.size() == 1 && (positional_ ? token != 0 : token <= 0);
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
    const shape &            s    = shape_of(b.layer, b.block);
    const std::vector<row> & rows = b.rows();
    block_layout &           l    = layout_[i];
    built_block &            out  = built_[i];
    l.layer         = b.layer;
    l.block         = b.block;
    l.n_expert      = n_expert_;
    l.n_expert_used = s.k;
    l.n_embd        = s.n_embd;
    blocks_[i].layout = &l;
    blocks_[i].n_rows = static_cast<uint32_t>(rows.size());

    out.row_token.clear();
    if (rows.size() != tokens_.size()) {
        for (const row & r : rows) {   // by position; rows that only have a number of their own stay unknown
            const auto it = r.token < 0 ? tokens_.end() : std::find(tokens_.begin(), tokens_.end(), r);
            out.row_token.push_back(it == tokens_.end() ? -1 : static_cast<int32_t>(it - tokens_.begin()));
        }
        blocks_[i].row_token = out.row_token;
    }
    out.ids.clear();
    if (b.ids.rows.empty()) {
        l.n_expert_used = 0;   // gate inputs alone
    } else {
        l.columns = capture::ids;
        for (const uint32_t id : b.id_values) {
            for (uint32_t byte = 0; byte < l.id_bytes(); ++byte) {
                out.ids.push_back(static_cast<uint8_t>(id >> (8 * byte)));
            }
        }
    }
    blocks_[i].ids = out.ids.data();
    add_column(b.weights, rows, capture::weights, s.k, i);
    add_column(b.logits, rows, capture::logits, n_expert_, i);
    add_column(b.probs, rows, capture::probs, n_expert_, i);
    add_column(b.gate, b.gate.rows, capture::gate_input, s.n_embd, i);
}

// Adds a column where the log has it for each of the rows, by their tokens. Returns whether it did.
bool foreign_log::add_column(const table & t, const std::vector<row> & rows, capture column, uint32_t width, size_t i) {
    if (t.rows.empty() || rows.empty()) {
        return false;
    }
    const auto           at  = static_cast<size_t>(std::find(std::begin(float_columns), std::end(float_columns), column) - float_columns);
    std::vector<float> & out = built_[i].values[at];
    if (t.rows == rows) {
        out = t.values;
    } else {
        out.clear();
        size_t hint = 0;   // both follow the batch, so a row's values are seldom far from the last one's
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

}  // namespace moescope::trace
