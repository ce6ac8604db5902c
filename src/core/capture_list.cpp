#include "core/capture_list.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace moescope {

namespace {

void add_item(capture_list & list, const std::string & name) {
    if (name == "all") {
        list = capture_list::all();
        return;
    }
    if (name == "access") {
        list.access = true;
        return;
    }
    for (uint32_t bits = column_set::known().bits(); bits != 0; bits &= bits - 1) {
        const column_set one = column_set::from_bits(bits & ~(bits - 1));
        if (name == to_string(one)) {
            list.columns = list.columns | one;
            return;
        }
    }
    throw usage_error("unknown capture item '" + name + "'")
        .fix("the items are " + to_string(capture_list(column_set::known(), true)) + ", or all");
}

}  // namespace

capture_list parse_capture_list(const std::string & text, runner_up next) {
    capture_list list  = column::ids | column::weights;
    size_t       begin = 0;
    while (begin <= text.size()) {
        const size_t end = std::min(text.find(',', begin), text.size());
        add_item(list, text.substr(begin, end - begin));
        begin = end + 1;
    }
    if (next == runner_up::refused && list.columns.has(column::runner_up)) {
        throw usage_error("the runner-up is only there where moescope itself loads the model")
            .fix("moescope run --capture runner-up");
    }
    return list;
}

std::string to_string(const capture_list & list) {
    const std::string columns = to_string(list.columns);
    return !list.access ? columns : columns.empty() ? "access" : columns + ",access";
}

}  // namespace moescope
