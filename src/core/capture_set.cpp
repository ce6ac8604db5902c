#include "core/capture_set.hpp"

#include "core/error.hpp"

#include <algorithm>

namespace moescope {

namespace {

struct named_item {
    const char * name;
    capture      item;
};

constexpr named_item items[] = {
    {"ids", capture::ids},           {"weights", capture::weights},     {"weights-raw", capture::weights_raw},
    {"logits", capture::logits},     {"probs", capture::probs},         {"selection", capture::selection},
    {"norms", capture::norms},       {"gate-input", capture::gate_input}, {"access", capture::access},
};

capture_set parse_item(const std::string & name) {
    if (name == "all") {
        return capture_set::all();
    }
    for (const named_item & it : items) {
        if (name == it.name) {
            return it.item;
        }
    }
    throw usage_error("unknown capture item '" + name + "'").fix("the items are " + to_string(capture_set::all()) + ", or all");
}

}  // namespace

capture_set parse_capture_set(const std::string & list) {
    capture_set set = capture::ids | capture::weights;
    size_t      begin = 0;
    while (begin <= list.size()) {
        const size_t end = std::min(list.find(',', begin), list.size());
        set   = set | parse_item(list.substr(begin, end - begin));
        begin = end + 1;
    }
    return set;
}

std::string to_string(capture_set set) {
    std::string list;
    for (const named_item & it : items) {
        if (set.has(it.item)) {
            list += (list.empty() ? "" : ",") + std::string(it.name);
        }
    }
    return list;
}

}  // namespace moescope
