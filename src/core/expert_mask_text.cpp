// Masks as text: options, environment, traces.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <tuple>

#include "core/error.hpp"
#include "core/expert_mask.hpp"

namespace moescope {

namespace {

std::string range_text(int32_t first, int32_t last) {
    return first == last ? std::to_string(first) : std::to_string(first) + "-" + std::to_string(last);
}

std::string number_text(float f) {
    char       text[32];
    const auto end = std::to_chars(std::begin(text), std::end(text), f).ptr;  // whatever the program's locale is
    return {text, end};
}

int32_t parse_id(const std::string & text, int32_t max) {
    const bool digits = !text.empty() && text.size() <= 5 && text.find_first_not_of("0123456789") == std::string::npos;
    const int  value  = digits ? std::stoi(text) : -1;
    return value <= max ? value : -1;
}

struct id_range {
    int32_t first = -1, last = -1;
    bool    fine() const { return first >= 0 && last >= first; }
};

id_range parse_range(const std::string & text, int32_t max) {
    const size_t dash = text.find('-');
    id_range     r;
    r.first = parse_id(text.substr(0, dash), max);
    r.last  = dash == std::string::npos ? r.first : parse_id(text.substr(dash + 1), max);
    return r;
}

// "5:15", "0-3:28-30" or "*:7". False where it is none of these.
template <class Rule>
bool parse_item(const std::string & item, Rule && take) {
    const size_t colon = item.find(':');
    if (colon == std::string::npos) {
        return false;
    }
    const id_range experts = parse_range(item.substr(colon + 1), expert_mask::max_expert);
    id_range       layers  = {expert_mask::every_layer, expert_mask::every_layer};
    if (item.substr(0, colon) != "*") {
        layers = parse_range(item.substr(0, colon), expert_mask::max_layer);
        if (!layers.fine()) {
            return false;
        }
    }
    for (int32_t il = layers.first; experts.fine() && il <= layers.last; ++il) {
        take(il, experts.first, experts.last);
    }
    return experts.fine();
}

// Calls take(item) for each part of the list; it says whether the item is fine.
template <class Item>
void parse_list(const std::string & list, char separator, const std::string & expected, Item && take) {
    for (size_t begin = 0; begin <= list.size();) {
        const size_t      end  = std::min(list.find(separator, begin), list.size());
        const std::string item = list.substr(begin, end - begin);
        if (!take(item)) {
            throw usage_error(expected + ", not '" + item + "'");
        }
        begin = end + 1;
    }
}

bool parse_bias(const std::string & text, float & bias) {
    if (text == "-inf") {
        bias = expert_mask::omitted;
        return true;
    }
    const char * const end  = text.data() + text.size();
    const auto         read = std::from_chars(text.data(), end, bias);
    return read.ec == std::errc() && read.ptr == end && std::abs(bias) <= expert_mask::max_bias;
}

}  // namespace

expert_mask parse_omit(const std::string & list, const std::string & option) {
    expert_mask mask;
    parse_list(list, ',', option + " takes LAYER:EXPERT such as 5:15,3:28-30,*:7", [&](const std::string & item) {
        return parse_item(item,
                          [&](int32_t il, int32_t first, int32_t last) { mask.add(il, first, last, mask.omitted); });
    });
    return mask;
}

expert_mask parse_only(const std::string & list, const std::string & option) {
    expert_mask mask;
    parse_list(list, ',', option + " takes LAYER:EXPERT such as 5:0-7", [&](const std::string & item) {
        return parse_item(item, [&](int32_t il, int32_t first, int32_t last) { mask.keep_only(il, first, last); });
    });
    return mask;
}

expert_mask parse_router_bias(const std::string & list, const std::string & option) {
    expert_mask mask;
    parse_list(list, ',', option + " takes LAYER:EXPERT=BIAS such as 5:15=-2, the bias from -1e6 to 1e6 or -inf",
               [&](const std::string & item) {
                   const size_t equals = item.find('=');
                   float        bias   = 0;
                   return equals != std::string::npos && parse_bias(item.substr(equals + 1), bias) &&
                          parse_item(item.substr(0, equals),
                                     [&](int32_t il, int32_t first, int32_t last) { mask.add(il, first, last, bias); });
               });
    return mask;
}

expert_mask parse_expert_mask(const std::string & text) {
    expert_mask mask;
    if (text.empty()) {
        return mask;
    }
    const std::string expected = "a mask is such as 'omit 5:15,3:28-30; only 4:0-7; bias 5:15=-2'";
    parse_list(text, ';', expected, [&](std::string part) {
        part.erase(0, part.find_first_not_of(' '));
        const std::string word = part.substr(0, part.find(' '));
        const std::string list = part.size() > word.size() ? part.substr(word.size() + 1) : std::string();
        if (word == "omit") {
            mask |= parse_omit(list, word);
        } else if (word == "only") {
            mask |= parse_only(list, word);
        } else if (word == "bias") {
            mask |= parse_router_bias(list, word);
        } else {
            return false;
        }
        return true;
    });
    return mask;
}

// Rules that continue one another become one. Finite biases add up where they overlap, so these only join where they touch.
std::string expert_mask::list_text(std::vector<rule> rules, bool with_bias) {
    const auto key = [](const rule & r) { return std::tie(r.layer, r.bias, r.first, r.last); };
    std::sort(rules.begin(), rules.end(), [&](const rule & a, const rule & b) { return key(a) < key(b); });
    std::string text;
    for (size_t i = 0, end; i < rules.size(); i = end) {
        rule       all       = rules[i];
        const auto continues = [&](const rule & r) {
            const int32_t next = all.last + 1;
            return r.layer == all.layer && r.bias == all.bias && (with_bias ? r.first == next : r.first <= next);
        };
        for (end = i + 1; end < rules.size() && continues(rules[end]); ++end) {
            all.last = std::max(all.last, rules[end].last);
        }
        text += (text.empty() ? "" : ",") + (all.layer == every_layer ? "*" : std::to_string(all.layer)) + ":" +
                range_text(all.first, all.last) + (with_bias ? "=" + number_text(all.bias) : "");
    }
    return text;
}

std::string expert_mask::to_text() const {
    std::vector<rule> omits, pushes;
    std::partition_copy(biases_.begin(), biases_.end(), std::back_inserter(omits), std::back_inserter(pushes),
                        [](const rule & r) { return r.bias == omitted; });
    std::string text;
    const auto  part = [&](const char * word, const std::string & items) {
        text += items.empty() ? "" : (text.empty() ? "" : "; ") + std::string(word) + " " + items;
    };
    part("omit", list_text(omits, false));
    part("only", list_text(only_, false));
    part("bias", list_text(pushes, true));
    return text;
}

}  // namespace moescope
