#include "logs/foreign_log.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace moescope::logs {

namespace {

using kind  = foreign_line::kind;
using title = foreign_line::title;

constexpr uint32_t bit(kind k) {
    return 1u << static_cast<uint32_t>(k);
}

bool is_row(kind k) {
    return k == kind::token_row || k == kind::selection_weights || k == kind::selection || k == kind::gate;
}

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
        throw error(n_malformed_ > 0 ? "no line of the log makes sense: " + first_malformed_
                                     : "neither a moescope trace nor a log that moescope reads")
            .in(path)
            .fix("docs/logs.md lists what moescope reads");
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
    section_                               = {};
    pending_.clear();
    later_.clear();
}

void foreign_log::describe() {
    const auto seen = [&](kind k) { return (kinds_ & bit(k)) != 0; };
    const auto add  = [&](const char * name) { info_.format += (info_.format.empty() ? "" : "+") + std::string(name); };
    info_.path      = path_;
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

    for (const auto & [id, s] : shapes_) {
        model_.n_expert_used = std::max(model_.n_expert_used, s.k);
        model_.n_embd        = std::max(model_.n_embd, s.n_embd);
    }
    const uint32_t k      = has_shape_line_ ? 0 : model_.n_expert_used;  // in a row of which ids may repeat
    const uint32_t fewest = std::max(largest_id_ + 1, k);
    if (n_expert_ < fewest && has_ids_) {
        if (has_shape_line_) {
            info_.notes.push_back("the log names expert " + std::to_string(largest_id_) +
                                  " , but says n_experts=" + std::to_string(n_expert_));
        } else {
            info_.notes.push_back("the log does not say how many experts there are; assumed: " +
                                  std::string(fewest > k ? "the largest id + 1, " : "the number of ids in a row, ") +
                                  std::to_string(fewest));
        }
        n_expert_ = fewest;
    }
    if (!seen(kind::token_row)) {
        info_.notes.push_back(
            "the log does not say which tokens were generated: every batch of one row after the first batch counts "
            "as generated");
    }
    if (n_malformed_ > 0) {
        info_.notes.push_back(std::to_string(n_malformed_) + (n_malformed_ == 1 ? " line makes" : " lines make") +
                              " no sense and " + (n_malformed_ == 1 ? "is" : "are") +
                              " left out; the first: " + first_malformed_);
    }
    model_.n_expert = n_expert_;
}

graph_layout foreign_log::blocks() const {
    graph_layout all;
    for (const auto & [id, s] : shapes_) {
        block_layout b{id};
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
            continue;  // a prompt of several lines
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
    const bool opens_block = l.what == kind::section || l.what == kind::selection ||
                             l.what == kind::selection_weights || l.what == kind::gate;
    if (!opens_block) {
        return false;
    }
    const pending_block & latest = pending_.back();
    if (latest.id() == l.id()) {
        // The same layer goes on, unless a section of its log, or the rows of its gate inputs, begin again.
        if (l.what == kind::section) {
            return (l.about == title::ids && !latest.ids.rows.empty()) ||
                   (l.about == title::weights && !latest.weights.rows.empty()) ||
                   (l.about == title::logits && (!latest.logits.rows.empty() || !latest.ids.rows.empty())) ||
                   (l.about == title::probs && (!latest.probs.rows.empty() || !latest.ids.rows.empty()));
        }
        return l.what == kind::gate && !latest.gate.rows.empty() && l.token >= 0 &&
               l.token <= latest.gate.rows.back().token;
    }
    return std::any_of(pending_.begin(), pending_.end(), [&](const pending_block & b) { return b.id() == l.id(); });
}

foreign_log::pending_block & foreign_log::block_of(const block_id & id) {
    if (pending_.empty() || pending_.back().id() != id) {
        pending_.emplace_back(id);
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
                block_of(l);
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
                break;  // a section that we do not know
            }
            positional_       = true;
            pending_block & b = block_of(section_);
            shape &         s = shapes_[b];
            if (l.cut) {
                malformed("its list is cut (--max-columns)");
            } else if (section_.about == title::ids) {
                if (values_as_ids(l)) {
                    add_ids(b, l);
                } else {
                    malformed("these are not expert ids");
                }
            } else if (section_.about == title::weights) {
                add_values(b.weights, s.k, column::weights, b, l);
            } else {
                add_values(section_.about == title::logits ? b.logits : b.probs, n_expert_,
                           section_.about == title::logits ? column::logits : column::probs, b, l);
            }
            break;
        }
        case kind::selection_weights:
        case kind::selection: {
            positional_       = positional_ || l.what == kind::selection_weights;
            pending_block & b = block_of(l);
            const size_t    n = b.ids.rows.size();
            l.sequence        = -1;  // not said
            add_ids(b, l);
            if (!l.values.empty() && b.ids.rows.size() > n) {
                add_values(b.weights, shapes_[l].k, column::weights, b, l);
            }
            break;
        }
        case kind::gate: {
            pending_block & b = block_of(l);
            add_values(b.gate, shapes_[l].n_embd, column::gate_input, b, l);
            break;
        }
        default: break;
    }
}

void foreign_log::add_ids(pending_block & b, const foreign_line & l) {
    if (l.ids.empty()) {
        return malformed("no ids");
    }
    shape & s = shapes_[b];
    if (s.k == 0) {
        s.k = section_.about == title::ids && section_.k > 0 ? section_.k : static_cast<uint32_t>(l.ids.size());
    }
    if (l.ids.size() != s.k) {
        malformed(std::to_string(l.ids.size()) + " ids where layer " + std::to_string(b.layer) + " selects " +
                  std::to_string(s.k));
        return;
    }
    b.ids.rows.push_back({l.token, l.sequence});
    b.id_values.insert(b.id_values.end(), l.ids.begin(), l.ids.end());
    if (first_pass_) {
        s.columns   = s.columns | column::ids;
        largest_id_ = std::max(largest_id_, *std::max_element(l.ids.begin(), l.ids.end()));
        has_ids_    = true;
        n_rows_ += 1;
    }
}

void foreign_log::add_values(table & t, uint32_t & width, column column, const pending_block & b,
                             const foreign_line & l) {
    if (width == 0) {
        width = static_cast<uint32_t>(l.values.size());
    }
    if (l.values.empty() || l.values.size() != width) {
        malformed(std::to_string(l.values.size()) + " values where layer " + std::to_string(b.layer) + " has " +
                  std::to_string(width));
        return;
    }
    t.rows.push_back({l.token, l.sequence});
    t.values.insert(t.values.end(), l.values.begin(), l.values.end());
    if (first_pass_) {
        shape & s = shapes_[b];
        s.columns = s.columns | column;
        n_rows_ += column == column::gate_input;
    }
}

}  // namespace moescope::logs
