#include "gguf/metadata.hpp"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "core/error.hpp"

namespace moescope::gguf {

namespace {

// Larger metadata (vocabularies) is not needed here, and ggml's reader takes a tenth of a second for it.
constexpr uint64_t large_metadata = 64 * 1024;

// The header of a file with the large metadata left out: what ggml's reader is given.
std::vector<char> small_header(const io::input_file & file, const file_header & header) {
    std::vector<char> out;
    uint64_t          n_metadata   = 0;
    const auto        append_value = [&](const auto & v) {
        const auto * p = reinterpret_cast<const char *>(&v);
        out.insert(out.end(), p, p + sizeof(v));
    };
    const auto append_file = [&](uint64_t begin, uint64_t end) {
        const size_t at = out.size();
        out.resize(at + (end - begin));
        file.read_at(begin, out.data() + at, end - begin);
    };
    out.assign(GGUF_MAGIC, &GGUF_MAGIC[4]);
    append_value(header.version);
    append_value(static_cast<uint64_t>(header.tensors.size()));
    const size_t count_at = out.size();
    append_value(n_metadata);
    for (const metadata_entry & entry : header.metadata) {
        if (entry.end - entry.begin <= large_metadata) {
            append_file(entry.begin, entry.end);
            ++n_metadata;
        }
    }
    std::memcpy(out.data() + count_at, &n_metadata, sizeof(n_metadata));
    append_file(header.tensors_begin, header.tensors_end);
    out.resize((out.size() + header.alignment - 1) / header.alignment * header.alignment);
    return out;
}

// Our reading of the header is believed only where ggml's agrees.
void compare_with_ggml(const gguf_context * ctx, const file_header & header, const std::string & path) {
    for (size_t i = 0; i < header.tensors.size(); ++i) {
        const tensor_info & t  = header.tensors[i];
        const auto          id = static_cast<int64_t>(i);
        if (t.name != gguf_get_tensor_name(ctx, id) || t.type != gguf_get_tensor_type(ctx, id) ||
            t.offset != gguf_get_tensor_offset(ctx, id) || t.size != gguf_get_tensor_size(ctx, id) ||
            !std::equal(t.ne.begin(), t.ne.end(), gguf_get_tensor_ne(ctx, id))) {
            throw error(fmt::format("ggml reads tensor '{}' differently", t.name)).in(path);
        }
    }
}

uint64_t to_uint(gguf_type type, const void * data, size_t i) {
    switch (type) {
        case GGUF_TYPE_UINT8:
        case GGUF_TYPE_BOOL: return static_cast<const uint8_t *>(data)[i];
        case GGUF_TYPE_INT8: return static_cast<uint64_t>(static_cast<const int8_t *>(data)[i]);
        case GGUF_TYPE_UINT16: return static_cast<const uint16_t *>(data)[i];
        case GGUF_TYPE_INT16: return static_cast<uint64_t>(static_cast<const int16_t *>(data)[i]);
        case GGUF_TYPE_UINT32: return static_cast<const uint32_t *>(data)[i];
        case GGUF_TYPE_INT32: return static_cast<uint64_t>(static_cast<const int32_t *>(data)[i]);
        case GGUF_TYPE_UINT64:
        case GGUF_TYPE_INT64: return static_cast<const uint64_t *>(data)[i];
        default: return 0;
    }
}

bool is_integer(gguf_type type) {
    return type != GGUF_TYPE_FLOAT32 && type != GGUF_TYPE_FLOAT64 && type != GGUF_TYPE_STRING &&
           type != GGUF_TYPE_ARRAY;
}

}  // namespace

model_metadata::model_metadata(const io::input_file & file, const file_header & header) {
    const std::vector<char> small = small_header(file, header);
    ctx_.reset(gguf_init_from_buffer(small.data(), small.size(), {/*no_alloc*/ true, /*ctx*/ nullptr}));
    if (!ctx_ || gguf_get_n_tensors(ctx_.get()) != static_cast<int64_t>(header.tensors.size())) {
        throw error("ggml's reader refuses this header").in(file.path());
    }
    compare_with_ggml(ctx_.get(), header, file.path());
}

std::vector<uint64_t> model_metadata::get_uints(const std::string & key) const {
    const int64_t         id = gguf_find_key(ctx_.get(), key.c_str());
    std::vector<uint64_t> values;
    if (id < 0) {
        return values;
    }
    const bool      is_array = gguf_get_kv_type(ctx_.get(), id) == GGUF_TYPE_ARRAY;
    const gguf_type type     = is_array ? gguf_get_arr_type(ctx_.get(), id) : gguf_get_kv_type(ctx_.get(), id);
    if (!is_integer(type)) {
        return values;
    }
    const size_t n    = is_array ? gguf_get_arr_n(ctx_.get(), id) : 1;
    const void * data = is_array ? gguf_get_arr_data(ctx_.get(), id) : gguf_get_val_data(ctx_.get(), id);
    for (size_t i = 0; i < n; ++i) {
        values.push_back(to_uint(type, data, i));
    }
    return values;
}

std::optional<uint64_t> model_metadata::get_uint(const std::string & key) const {
    const int64_t id = gguf_find_key(ctx_.get(), key.c_str());
    if (id < 0 || gguf_get_kv_type(ctx_.get(), id) == GGUF_TYPE_ARRAY) {
        return std::nullopt;
    }
    const auto values = get_uints(key);
    return values.empty() ? std::nullopt : std::optional<uint64_t>(values.front());
}

std::optional<bool> model_metadata::get_bool(const std::string & key) const {
    const auto value = get_uint(key);
    return value ? std::optional<bool>(*value != 0) : std::nullopt;
}

std::optional<double> model_metadata::get_float(const std::string & key) const {
    const int64_t id = gguf_find_key(ctx_.get(), key.c_str());
    if (id >= 0 && gguf_get_kv_type(ctx_.get(), id) == GGUF_TYPE_FLOAT32) {
        return gguf_get_val_f32(ctx_.get(), id);
    }
    if (id >= 0 && gguf_get_kv_type(ctx_.get(), id) == GGUF_TYPE_FLOAT64) {
        return gguf_get_val_f64(ctx_.get(), id);
    }
    return std::nullopt;
}

std::vector<std::string> model_metadata::get_strings(const std::string & key) const {
    std::vector<std::string> values;
    const int64_t            id = gguf_find_key(ctx_.get(), key.c_str());
    if (id >= 0 && gguf_get_kv_type(ctx_.get(), id) == GGUF_TYPE_STRING) {
        values.push_back(gguf_get_val_str(ctx_.get(), id));
    } else if (id >= 0 && gguf_get_kv_type(ctx_.get(), id) == GGUF_TYPE_ARRAY &&
               gguf_get_arr_type(ctx_.get(), id) == GGUF_TYPE_STRING) {
        for (size_t i = 0; i < gguf_get_arr_n(ctx_.get(), id); ++i) {
            values.push_back(gguf_get_arr_str(ctx_.get(), id, i));
        }
    }
    return values;
}

std::optional<std::string> model_metadata::get_string(const std::string & key) const {
    const int64_t id = gguf_find_key(ctx_.get(), key.c_str());
    if (id < 0 || gguf_get_kv_type(ctx_.get(), id) != GGUF_TYPE_STRING) {
        return std::nullopt;
    }
    return gguf_get_val_str(ctx_.get(), id);
}

}  // namespace moescope::gguf
