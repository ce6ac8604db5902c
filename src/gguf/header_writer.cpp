#include "gguf/header_writer.hpp"

#include <cstring>

#include <fmt/format.h>

#include "core/error.hpp"

namespace moescope::gguf {

namespace {

template <class T>
void put(std::string & out, T value) {
    out.append(reinterpret_cast<const char *>(&value), sizeof(value));
}

void put_string(std::string & out, const std::string & text) {
    put(out, static_cast<uint64_t>(text.size()));
    out += text;
}

size_t integer_size(gguf_type type) {
    switch (type) {
        case GGUF_TYPE_UINT8:
        case GGUF_TYPE_INT8: return 1;
        case GGUF_TYPE_UINT16:
        case GGUF_TYPE_INT16: return 2;
        case GGUF_TYPE_UINT32:
        case GGUF_TYPE_INT32: return 4;
        case GGUF_TYPE_UINT64:
        case GGUF_TYPE_INT64: return 8;
        default: return 0;
    }
}

}  // namespace

void header_writer::begin(const std::string & key, gguf_type type) {
    put_string(metadata_, key);
    put(metadata_, static_cast<int32_t>(type));
    ++n_metadata_;
}

void header_writer::copy(const io::input_file & file, const metadata_entry & entry) {
    const size_t at = metadata_.size();
    metadata_.resize(at + (entry.end - entry.begin));
    file.read_at(entry.begin, metadata_.data() + at, entry.end - entry.begin);
    ++n_metadata_;
}

void header_writer::copy_with_value(const io::input_file & file, const metadata_entry & entry, uint64_t value) {
    const size_t size = integer_size(entry.type);
    if (size == 0) {
        throw error(fmt::format("key '{}' is not a number", entry.key))
            .in(file.path(), static_cast<int64_t>(entry.begin));
    }
    copy(file, entry);
    std::memcpy(metadata_.data() + metadata_.size() - size, &value, size);  // GGUF is little-endian, and so are we
}

void header_writer::add(const std::string & key, const std::string & value) {
    begin(key, GGUF_TYPE_STRING);
    put_string(metadata_, value);
}

void header_writer::add(const std::string & key, uint32_t value) {
    begin(key, GGUF_TYPE_UINT32);
    put(metadata_, value);
}

void header_writer::add(const std::string & key, uint64_t value) {
    begin(key, GGUF_TYPE_UINT64);
    put(metadata_, value);
}

void header_writer::add(const std::string & key, const std::vector<int32_t> & values) {
    begin(key, GGUF_TYPE_ARRAY);
    put(metadata_, static_cast<int32_t>(GGUF_TYPE_INT32));
    put(metadata_, static_cast<uint64_t>(values.size()));
    for (const int32_t v : values) {
        put(metadata_, v);
    }
}

void header_writer::add(const std::string & key, const std::vector<std::string> & values) {
    begin(key, GGUF_TYPE_ARRAY);
    put(metadata_, static_cast<int32_t>(GGUF_TYPE_STRING));
    put(metadata_, static_cast<uint64_t>(values.size()));
    for (const std::string & v : values) {
        put_string(metadata_, v);
    }
}

std::string header_writer::finish(const std::vector<tensor_info> & tensors, uint32_t alignment) const {
    std::string out(GGUF_MAGIC, 4);
    put(out, static_cast<uint32_t>(GGUF_VERSION));
    put(out, static_cast<uint64_t>(tensors.size()));
    put(out, n_metadata_);
    out += metadata_;
    for (const tensor_info & t : tensors) {
        put_string(out, t.name);
        put(out, t.n_dims);
        for (uint32_t d = 0; d < t.n_dims; ++d) {
            put(out, t.ne[d]);
        }
        put(out, static_cast<int32_t>(t.type));
        put(out, t.offset);
    }
    out.resize((out.size() + alignment - 1) / alignment * alignment, '\0');
    return out;
}

}  // namespace moescope::gguf
