#include "logs/foreign_line.hpp"

#include <charconv>
#include <cmath>

namespace moescope::logs {

namespace {

// More than any model has; a larger id is a misprint, and would make every count array huge.
constexpr uint32_t max_expert = 1u << 20;

// Eats a line from its front.
class cursor {
public:
    explicit cursor(std::string_view text) : text_(text) {}

    bool word(std::string_view w) {
        if (text_.substr(0, w.size()) != w) {
            return false;
        }
        text_.remove_prefix(w.size());
        return true;
    }
    void spaces() {
        while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\t')) {
            text_.remove_prefix(1);
        }
    }
    template <class T>
    bool number(T & value) {
        const auto r = std::from_chars(text_.data(), text_.data() + text_.size(), value);
        if (r.ec != std::errc()) {
            return false;
        }
        text_.remove_prefix(static_cast<size_t>(r.ptr - text_.data()));
        return true;
    }
    bool             done() const { return text_.empty(); }
    char             front() const { return text_.empty() ? '\0' : text_.front(); }
    std::string_view rest() const { return text_; }

private:
    std::string_view text_;
};

bool is_separator(char c) {
    return c == ' ' || c == ',' || c == '\t';
}

// Values up to the end or to a closing bracket or quote; in brackets and quotes or bare. "..." at the end sets `cut`.
template <class T>
bool read_list(cursor & c, std::vector<T> & out, bool & cut) {
    out.clear();
    const bool quoted = c.word("\""), bracket = c.word("[");
    for (;;) {
        while (is_separator(c.front())) {
            if (!bracket && !quoted && c.front() == ',') {
                return false;  // a bare list is separated by spaces: this would be the next field
            }
            c.word({c.rest().data(), 1});
        }
        if (c.done() || c.front() == ']' || c.front() == '"') {
            break;
        }
        if (c.word("...")) {
            cut = true;
            continue;
        }
        T value{};
        if (!c.number(value)) {
            return false;
        }
        out.push_back(value);
    }
    return (!bracket || c.word("]")) && (!quoted || c.word("\""));
}

bool read_layer_and_comma(cursor & c, foreign_line & out) {
    return c.number(out.layer) && c.word(",") && out.layer >= 0;
}

void parse_section(cursor c, foreign_line & out) {
    if (!c.number(out.layer) || out.layer < 0) {
        return;  // prose that happens to begin with "Layer"
    }
    if (c.word(" block ") && !c.number(out.block)) {
        return;
    }
    if (!c.word(" - ")) {
        return;
    }
    using title = foreign_line::title;
    out.about   = c.word("Raw Logits")               ? title::logits
                  : c.word("Router Probabilities")   ? title::probs
                  : c.word("Selected Expert IDs")    ? title::ids
                  : c.word("Expert Routing Weights") ? title::weights
                                                     : title::none;
    if (c.word(" (top-") && (!c.number(out.k) || out.k > max_expert)) {
        out.k = 0;
    }
    out.what = foreign_line::kind::section;  // of another title: its rows are not ours
}

void parse_token_row(cursor c, foreign_line & out) {
    out.what = foreign_line::kind::token_row;
    if (!c.word("?") && (!c.number(out.token) || out.token < 0)) {
        out.what = foreign_line::kind::other;
        return;
    }
    if (c.word(" (sequence ")) {
        c.number(out.sequence);
        c.word(")");
    }
    if (!c.word(":")) {
        out.what = foreign_line::kind::other;
        return;
    }
    c.spaces();
    if (c.front() != '[' || !read_list(c, out.values, out.cut)) {
        out.problem = "its list is unreadable";
    }
}

void parse_gate(cursor c, foreign_line & out) {
    out.what = foreign_line::kind::gate;
    if (!read_layer_and_comma(c, out) || !c.number(out.token) || !c.word(",") || !read_list(c, out.values, out.cut) ||
        !c.done() || out.values.empty()) {
        out.problem = "not gate_input,layer_id,token_id,values";
    } else if (out.cut) {
        out.problem = "its list is cut";
    }
}

// layer,token,"[ids]","[weights]", and what else follows (an export has prompt and label), or layer,ids.
void parse_csv(cursor c, foreign_line & out) {
    cursor two = c;
    if (!read_layer_and_comma(c, out)) {
        return;
    }
    cursor four = c;
    if (four.number(out.token) && four.word(",")) {
        out.what = foreign_line::kind::selection_weights;
        if (!read_list(four, out.ids, out.cut) || !four.word(",") || !read_list(four, out.values, out.cut) ||
            !(four.done() || four.word(","))) {
            out.problem = "not Layer,Token,ExpertIDs,ExpertWeights";
        } else if (!out.values.empty() && out.values.size() != out.ids.size()) {
            out.problem = "the numbers of weights and ids differ";
        }
    } else {
        out.token = -1;
        out.what  = foreign_line::kind::selection;
        if (!read_layer_and_comma(two, out) || !read_list(two, out.ids, out.cut) || !two.done()) {
            out.problem = "not layer_id,expert_ids";
        }
    }
    if (out.problem.empty() && (out.ids.empty() || out.cut)) {
        out.problem = out.cut ? "its list is cut" : "no ids";
    }
    for (const uint32_t id : out.ids) {
        if (out.problem.empty() && id >= max_expert) {
            out.problem = "an id larger than any model has";
        }
    }
}

}  // namespace

void parse_foreign_line(std::string_view line, foreign_line & out) {
    auto ids    = std::move(out.ids);
    auto values = std::move(out.values);
    out         = {};
    out.ids     = std::move(ids);
    out.values  = std::move(values);
    out.ids.clear();
    out.values.clear();

    if (!line.empty() && line.back() == '\r') {
        line.remove_suffix(1);
    }
    cursor c(line);
    c.spaces();
    if (c.word("gate_input,")) {
        if (c.front() != 'l') {  // "gate_input,layer_id,token_id,…" is a header
            parse_gate(c, out);
        }
    } else if (c.word("Layer ")) {
        parse_section(c, out);
    } else if (c.word("Token ")) {
        parse_token_row(c, out);
    } else if (c.word("n_experts=")) {
        out.what = c.number(out.n_expert) && out.n_expert <= max_expert ? foreign_line::kind::shape
                                                                        : foreign_line::kind::other;
    } else if (c.word("Prompt:")) {
        out.what = foreign_line::kind::prompt;
    } else if (c.word("Tokens:")) {
        c.spaces();
        out.what = c.number(out.token) && c.done() ? foreign_line::kind::prompt_tokens : foreign_line::kind::other;
    } else if (c.front() >= '0' && c.front() <= '9') {
        parse_csv(c, out);
    }
}

bool values_as_ids(foreign_line & line) {
    line.ids.clear();
    for (const float v : line.values) {
        if (!(v >= 0) || v >= static_cast<float>(max_expert) || v != std::floor(v)) {
            return false;
        }
        line.ids.push_back(static_cast<uint32_t>(v));  // exact: a float holds integers up to 2^24
    }
    return true;
}

}  // namespace moescope::logs
