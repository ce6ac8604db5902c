#include "gguf/tensor_name.hpp"

#include <charconv>

namespace moescope::gguf {

namespace {

// "blk.7.rest" -> 7, and name becomes "rest". Leaves name alone and returns -1 where there is no layer.
int take_layer(std::string_view & name) {
    for (const std::string_view prefix : {"blk.", "enc.blk.", "dec.blk."}) {
        if (name.substr(0, prefix.size()) != prefix) {
            continue;
        }
        const std::string_view rest  = name.substr(prefix.size());
        int                    layer = -1;
        const auto [end, failed]     = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
        if (failed == std::errc() && layer >= 0 && end != rest.data() + rest.size() && *end == '.') {
            name = rest.substr(static_cast<size_t>(end - rest.data()) + 1);
            return layer;
        }
    }
    return -1;
}

}  // namespace

tensor_name parse_tensor_name(std::string_view name) {
    tensor_name parsed;
    parsed.layer        = take_layer(name);
    const size_t last   = name.rfind('.');
    const auto   ending = last == std::string_view::npos ? std::string_view() : name.substr(last + 1);
    for (const std::string_view suffix : {"weight", "bias", "scale", "input_scale", "lora_a", "lora_b"}) {
        if (ending == suffix) {
            parsed.suffix = ending;
            name          = name.substr(0, last);
            break;
        }
    }
    parsed.base = name;
    return parsed;
}

}  // namespace moescope::gguf
