// The format: numpy.lib.format. A header in Python's syntax, {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.

#include "logs/arrays/npy.hpp"

#include <cstring>
#include <map>
#include <optional>
#include <regex>

#include "core/error.hpp"

namespace moescope::logs {

namespace {

std::optional<number_type> type_of(const std::string & descr) {
    static const std::map<std::string, number_type> types = {
        {"|b1", number_type::boolean}, {"|i1", number_type::i8},  {"<i2", number_type::i16}, {"<i4", number_type::i32},
        {"<i8", number_type::i64},     {"|u1", number_type::u8},  {"<u2", number_type::u16}, {"<u4", number_type::u32},
        {"<u8", number_type::u64},     {"<f2", number_type::f16}, {"<f4", number_type::f32}, {"<f8", number_type::f64},
    };
    const auto it = types.find(descr);
    return it == types.end() ? std::nullopt : std::optional(it->second);
}

std::vector<uint64_t> shape_of(const std::string & list, const std::string & what) {
    std::vector<uint64_t>   shape;
    static const std::regex number("[0-9]+");
    for (std::sregex_iterator it(list.begin(), list.end(), number), end; it != end; ++it) {
        if (it->str().size() > 18 || shape.size() == 8) {
            throw error(what + " has a shape that cannot be");
        }
        shape.push_back(std::stoull(it->str()));
    }
    return shape;
}

}  // namespace

array_view read_npy(span<const uint8_t> bytes, const std::string & what) {
    constexpr size_t magic_bytes = sizeof(npy_magic) - 1, longest_header = 65536;
    if (bytes.size() < magic_bytes + 6 || std::memcmp(bytes.data(), npy_magic, magic_bytes) != 0) {
        throw error(what + " is no .npy array");
    }
    const bool   wide = bytes[magic_bytes] > 1;  // from version 2.0 on
    const size_t at   = magic_bytes + (wide ? 6 : 4);
    uint32_t     size = 0;
    std::memcpy(&size, bytes.data() + magic_bytes + 2, wide ? 4 : 2);
    if (size > longest_header || size > bytes.size() - at) {
        throw error(what + " ends inside its header");
    }
    const std::string       header(reinterpret_cast<const char *>(bytes.data()) + at, size);
    static const std::regex form(
        "\\{\\s*'descr': *'([^']*)', *'fortran_order': *(True|False), *'shape': *\\(([0-9, L]*)\\),? *\\}\\s*");
    std::smatch m;
    if (!std::regex_match(header, m, form)) {
        throw error(what + " is no plain array: its header makes no sense");
    }
    const std::optional<number_type> type = type_of(m[1]);
    if (!type) {
        throw error(what + " is an array of '" + m[1].str() + "', not of plain numbers");
    }
    std::vector<uint64_t> shape   = shape_of(m[3], what), strides(shape.size());
    const bool            fortran = m[2] == "True";
    uint64_t              step    = 1;
    for (size_t i = 0; i < shape.size(); ++i) {
        const size_t d = fortran ? i : shape.size() - 1 - i;
        strides[d]     = step;
        step           = shape[d] > 0 && step > UINT64_MAX / shape[d] ? UINT64_MAX : step * shape[d];
    }
    return array_view(bytes.data() + at + size, bytes.size() - at - size, *type, shape, strides, what);
}

}  // namespace moescope::logs
