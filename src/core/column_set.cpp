#include "core/column_set.hpp"

#include "core/error.hpp"

#include <algorithm>

namespace moescope {

namespace {

struct named_item {
    const char * name;
    column       item;
};

constexpr named_item items[] = {
    {"ids", column::ids},       {"weights", column::weights},       {"weights-raw", column::weights_raw},
    {"logits", column::logits}, {"probs", column::probs},           {"selection", column::selection},
    {"norms", column::norms},   {"gate-input", column::gate_input}, {"access", column::access},
};

column_set parse_item(const std::string & name) {
    if (name == "all") {
        return column_set::all();
    }
    for (const named_item & it : items) {
        if (name == it.name) {
            return it.item;
        }
    }
    throw usage_error("unknown capture item '" + name + "'")
        .fix("the items are " + to_string(column_set::all()) + ", or all");
}

}  // namespace

column_set parse_column_set(const std::string & list) {
    column_set set   = column::ids | column::weights;
    size_t     begin = 0;
    while (begin <= list.size()) {
        const size_t end = std::min(list.find(',', begin), list.size());
        set              = set | parse_item(list.substr(begin, end - begin));
        begin            = end + 1;
    }
    return set;
}

std::string to_string(column_set set) {
    std::string list;
    for (const named_item & it : items) {
        if (set.has(it.item)) {
            list += (list.empty() ? "" : ",") + std::string(it.name);
        }
    }
    return list;
}

}  // namespace moescope
