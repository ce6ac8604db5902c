#include "core/column_set.hpp"

namespace moescope {

namespace {

const char * name_of(column c) {
    switch (c) {
        case column::ids: return "ids";
        case column::weights: return "weights";
        case column::weights_raw: return "weights-raw";
        case column::logits: return "logits";
        case column::probs: return "probs";
        case column::selection: return "selection";
        case column::norms: return "norms";
        case column::gate_input: return "gate-input";
        case column::gram: return "gram";
        case column::runner_up: return "runner-up";
        case column::peaks: return "peaks";
    }
    return "";
}

}  // namespace

std::string to_string(column_set set) {
    std::string list = set.has(column::ids) ? name_of(column::ids) : "";
    for (const column c : float_columns) {
        if (set.has(c)) {
            list += (list.empty() ? "" : ",") + std::string(name_of(c));
        }
    }
    return list;
}

}  // namespace moescope
