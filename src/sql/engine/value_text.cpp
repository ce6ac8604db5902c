#include "sql/engine/value_text.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <nlohmann/json.hpp>

namespace moescope::sql {

namespace {

using kind = value::kind;

// Types that are destroyed with their owner.
class owned_type {
public:
    explicit owned_type(duckdb_logical_type type) : type_(type) {}
    ~owned_type() { duckdb().destroy_logical_type(&type_); }
    owned_type(const owned_type &)             = delete;
    owned_type & operator=(const owned_type &) = delete;

    duckdb_logical_type get() const { return type_; }

private:
    duckdb_logical_type type_;
};

std::string take(char * text) {
    std::string owned = text == nullptr ? "" : text;
    duckdb().free(text);
    return owned;
}

template <class T>
T element(duckdb_vector vector, uint64_t at) {
    return static_cast<const T *>(duckdb().vector_get_data(vector))[at];
}

template <class T>
value integer(duckdb_vector vector, uint64_t at) {
    return {kind::number, std::to_string(element<T>(vector, at))};
}

template <class T>
value real(duckdb_vector vector, uint64_t at) {
    const T v = element<T>(vector, at);
    if (!std::isfinite(v)) {
        return {kind::number, std::isnan(v) ? "nan" : v > 0 ? "inf" : "-inf"};
    }
    char       text[64];
    const auto end = std::to_chars(text, text + sizeof(text), v);
    return {kind::number, std::string(text, end.ptr)};
}

std::string digits_of(unsigned __int128 v) {
    std::string digits;
    do {
        digits += static_cast<char>('0' + static_cast<int>(v % 10));
        v /= 10;
    } while (v > 0);
    std::reverse(digits.begin(), digits.end());
    return digits;
}

std::string decimal(__int128 v, size_t scale) {
    std::string digits = digits_of(v < 0 ? -static_cast<unsigned __int128>(v) : static_cast<unsigned __int128>(v));
    digits.insert(0, digits.size() <= scale ? scale + 1 - digits.size() : 0, '0');
    if (scale > 0) {
        digits.insert(digits.size() - scale, ".");
    }
    return (v < 0 ? "-" : "") + digits;
}

__int128 huge(duckdb_vector vector, uint64_t at) {
    const auto v = element<duckdb_hugeint>(vector, at);
    return static_cast<__int128>((static_cast<unsigned __int128>(static_cast<uint64_t>(v.upper)) << 64) | v.lower);
}

__int128 integer_of(duckdb_vector vector, duckdb_type stored, uint64_t at) {
    switch (stored) {
        case DUCKDB_TYPE_SMALLINT: return element<int16_t>(vector, at);
        case DUCKDB_TYPE_INTEGER: return element<int32_t>(vector, at);
        case DUCKDB_TYPE_BIGINT: return element<int64_t>(vector, at);
        default: return huge(vector, at);
    }
}

std::string text_at(duckdb_vector vector, uint64_t at) {
    auto s = element<duckdb_string_t>(vector, at);
    return s.value.inlined.length <= sizeof(s.value.inlined.inlined)
               ? std::string(s.value.inlined.inlined, s.value.inlined.length)
               : std::string(s.value.pointer.ptr, s.value.pointer.length);
}

std::string enum_text(duckdb_vector vector, duckdb_logical_type type, uint64_t at) {
    switch (duckdb().enum_internal_type(type)) {
        case DUCKDB_TYPE_UTINYINT: return take(duckdb().enum_dictionary_value(type, element<uint8_t>(vector, at)));
        case DUCKDB_TYPE_USMALLINT: return take(duckdb().enum_dictionary_value(type, element<uint16_t>(vector, at)));
        default: return take(duckdb().enum_dictionary_value(type, element<uint32_t>(vector, at)));
    }
}

std::string json_text(const std::string & text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string as_json(const value & v) {
    switch (v.what) {
        case kind::null: return "null";
        case kind::text: return json_text(v.text);
        case kind::number: return v.text == "nan" || v.text == "inf" || v.text == "-inf" ? "null" : v.text;
        default: return v.text;
    }
}

value list_at(duckdb_vector vector, duckdb_logical_type type, uint64_t at) {
    const owned_type    child(duckdb().list_type_child_type(type));
    const auto          entry  = element<duckdb_list_entry>(vector, at);
    const duckdb_vector values = duckdb().list_vector_get_child(vector);
    std::string         text;
    for (uint64_t i = entry.offset; i < entry.offset + entry.length; ++i) {
        text += (text.empty() ? "" : ", ") + as_json(value_at(values, child.get(), i));
    }
    return {kind::nested, "[" + text + "]"};
}

value struct_at(duckdb_vector vector, duckdb_logical_type type, uint64_t at) {
    std::string text;
    for (idx_t i = 0; i < duckdb().struct_type_child_count(type); ++i) {
        const owned_type child(duckdb().struct_type_child_type(type, i));
        text += (text.empty() ? "" : ", ") + json_text(take(duckdb().struct_type_child_name(type, i))) + ": " +
                as_json(value_at(duckdb().struct_vector_get_child(vector, i), child.get(), at));
    }
    return {kind::nested, "{" + text + "}"};
}

}  // namespace

std::string type_name(duckdb_logical_type type) {
    switch (duckdb().get_type_id(type)) {
        case DUCKDB_TYPE_BOOLEAN: return "boolean";
        case DUCKDB_TYPE_TINYINT: return "int8";
        case DUCKDB_TYPE_SMALLINT: return "int16";
        case DUCKDB_TYPE_INTEGER: return "int32";
        case DUCKDB_TYPE_BIGINT: return "int64";
        case DUCKDB_TYPE_HUGEINT: return "int128";
        case DUCKDB_TYPE_UTINYINT: return "uint8";
        case DUCKDB_TYPE_USMALLINT: return "uint16";
        case DUCKDB_TYPE_UINTEGER: return "uint32";
        case DUCKDB_TYPE_UBIGINT: return "uint64";
        case DUCKDB_TYPE_FLOAT: return "float";
        case DUCKDB_TYPE_DOUBLE: return "double";
        case DUCKDB_TYPE_DECIMAL: return "decimal";
        case DUCKDB_TYPE_VARCHAR: return "varchar";
        case DUCKDB_TYPE_ENUM: return "enum";
        case DUCKDB_TYPE_STRUCT: return "struct";
        case DUCKDB_TYPE_SQLNULL: return "null";
        case DUCKDB_TYPE_LIST: {
            const owned_type  child(duckdb().list_type_child_type(type));
            const std::string name = type_name(child.get());
            return name.empty() ? "" : name + "[]";
        }
        default: return "";
    }
}

bool is_number(duckdb_logical_type type) {
    const duckdb_type id = duckdb().get_type_id(type);
    return (id >= DUCKDB_TYPE_TINYINT && id <= DUCKDB_TYPE_DOUBLE) || id == DUCKDB_TYPE_HUGEINT ||
           id == DUCKDB_TYPE_DECIMAL;
}

value value_at(duckdb_vector vector, duckdb_logical_type type, uint64_t at) {
    const uint64_t * valid = duckdb().vector_get_validity(vector);
    if (valid != nullptr && (valid[at / 64] >> (at % 64) & 1) == 0) {
        return {};
    }
    switch (duckdb().get_type_id(type)) {
        case DUCKDB_TYPE_BOOLEAN: return {kind::boolean, element<bool>(vector, at) ? "true" : "false"};
        case DUCKDB_TYPE_TINYINT: return integer<int8_t>(vector, at);
        case DUCKDB_TYPE_SMALLINT: return integer<int16_t>(vector, at);
        case DUCKDB_TYPE_INTEGER: return integer<int32_t>(vector, at);
        case DUCKDB_TYPE_BIGINT: return integer<int64_t>(vector, at);
        case DUCKDB_TYPE_UTINYINT: return integer<uint8_t>(vector, at);
        case DUCKDB_TYPE_USMALLINT: return integer<uint16_t>(vector, at);
        case DUCKDB_TYPE_UINTEGER: return integer<uint32_t>(vector, at);
        case DUCKDB_TYPE_UBIGINT: return integer<uint64_t>(vector, at);
        case DUCKDB_TYPE_HUGEINT: return {kind::number, decimal(huge(vector, at), 0)};
        case DUCKDB_TYPE_FLOAT: return real<float>(vector, at);
        case DUCKDB_TYPE_DOUBLE: return real<double>(vector, at);
        case DUCKDB_TYPE_DECIMAL:
            return {kind::number, decimal(integer_of(vector, duckdb().decimal_internal_type(type), at),
                                          duckdb().decimal_scale(type))};
        case DUCKDB_TYPE_VARCHAR: return {kind::text, text_at(vector, at)};
        case DUCKDB_TYPE_ENUM: return {kind::text, enum_text(vector, type, at)};
        case DUCKDB_TYPE_LIST: return list_at(vector, type, at);
        case DUCKDB_TYPE_STRUCT: return struct_at(vector, type, at);
        default: return {};
    }
}

}  // namespace moescope::sql
