#include "gguf/header.hpp"

#include <algorithm>
#include <limits>
#include <unordered_set>

#include <fmt/format.h>

#include "gguf/byte_cursor.hpp"

namespace moescope::gguf {

namespace {

// Far above any model (llama.cpp itself stops at 512 layers); ggml compares all pairs of names, so a forged count
// must not turn into hours.
constexpr uint64_t max_entries = 65536;

// Pages are smaller everywhere; a header that asks for gigabytes of padding is forged.
constexpr uint32_t max_alignment = 1u << 20;

void read_magic_and_version(byte_cursor & in, file_header & header) {
    const auto magic = in.get<std::array<char, 4>>("the magic number");
    if (std::memcmp(magic.data(), GGUF_MAGIC, 4) != 0) {
        in.fail_at("not a GGUF file: it does not begin with 'GGUF'", 0);
    }
    header.version = in.get<uint32_t>("the version");
    if ((header.version & 0xffff) == 0 && header.version != 0) {
        in.fail_at("this GGUF file has the opposite byte order", 4);
    }
    if (header.version < 2 || header.version > GGUF_VERSION) {
        in.fail_at(fmt::format("GGUF version {} is not supported (2 to {} are)", header.version, GGUF_VERSION), 4);
    }
}

// min_bytes: what one entry takes at least, so that a count can be refused before anything is allocated for it.
uint64_t read_count(byte_cursor & in, const char * what, uint64_t min_bytes) {
    const uint64_t at = in.position();
    const auto     n  = in.get<uint64_t>(what);
    if (n > max_entries || n > in.remaining() / min_bytes) {
        in.fail_at(fmt::format("{} is {}, which is more than the file can hold", what, n), at);
    }
    return n;
}

gguf_type read_value_type(byte_cursor & in, const std::string & key) {
    const uint64_t at   = in.position();
    const auto     type = in.get<int32_t>("a metadata type");
    if (type < 0 || type >= GGUF_TYPE_COUNT) {
        in.fail_at(fmt::format("key '{}' has the unknown type {}", key, type), at);
    }
    return static_cast<gguf_type>(type);
}

size_t scalar_size(gguf_type type) {
    switch (type) {
        case GGUF_TYPE_UINT8:
        case GGUF_TYPE_INT8:
        case GGUF_TYPE_BOOL: return 1;
        case GGUF_TYPE_UINT16:
        case GGUF_TYPE_INT16: return 2;
        case GGUF_TYPE_UINT32:
        case GGUF_TYPE_INT32:
        case GGUF_TYPE_FLOAT32: return 4;
        case GGUF_TYPE_UINT64:
        case GGUF_TYPE_INT64:
        case GGUF_TYPE_FLOAT64: return 8;
        default: return 0;
    }
}

void skip_value(byte_cursor & in, const metadata_entry & entry) {
    if (entry.item_type == GGUF_TYPE_STRING) {
        for (uint64_t i = 0; i < entry.n_items; ++i) {
            in.skip_string("a metadata string");
        }
        return;
    }
    const size_t size = scalar_size(entry.item_type);
    if (size == 0) {
        in.fail(fmt::format("key '{}' holds arrays of arrays", entry.key));
    }
    if (entry.n_items > in.remaining() / size) {
        in.fail(fmt::format("key '{}' is said to hold {} values, more than the file can", entry.key, entry.n_items));
    }
    in.skip(entry.n_items * size, "a metadata value");
}

metadata_entry read_metadata_entry(byte_cursor & in) {
    metadata_entry entry;
    entry.begin = in.position();
    entry.key   = in.get_string("a metadata key");
    if (entry.key.empty()) {
        in.fail_at("a metadata key is empty", entry.begin);
    }
    entry.type = entry.item_type = read_value_type(in, entry.key);
    if (entry.type == GGUF_TYPE_ARRAY) {
        entry.item_type = read_value_type(in, entry.key);
        entry.n_items   = in.get<uint64_t>("an array length");
        if (entry.n_items > in.remaining()) {  // every item takes a byte at least
            in.fail(
                fmt::format("key '{}' is said to hold {} values, more than the file can", entry.key, entry.n_items));
        }
    }
    skip_value(in, entry);
    entry.end = in.position();
    return entry;
}

void read_alignment(const io::input_file & file, file_header & header) {
    const metadata_entry * entry = header.find(GGUF_KEY_GENERAL_ALIGNMENT);
    if (entry == nullptr) {
        return;
    }
    const auto at = static_cast<int64_t>(entry->begin);
    if (entry->type != GGUF_TYPE_UINT32) {
        throw error("general.alignment is not a u32").in(file.path(), at);
    }
    file.read_at(entry->end - sizeof(uint32_t), &header.alignment, sizeof(uint32_t));
    if (header.alignment == 0 || (header.alignment & (header.alignment - 1)) != 0 || header.alignment > max_alignment) {
        throw error(
            fmt::format("general.alignment is {}, not a power of two up to {}", header.alignment, max_alignment))
            .in(file.path(), at);
    }
}

// Sets the size from ggml's traits, refusing whatever they cannot describe.
void size_tensor(const byte_cursor & in, tensor_info & t, int32_t type, uint64_t at) {
    if (type < 0 || type >= GGML_TYPE_COUNT || ggml_blck_size(static_cast<ggml_type>(type)) == 0) {
        in.fail_at(fmt::format("tensor '{}' has type {}, which this ggml does not know", t.name, type), at);
    }
    t.type                = static_cast<ggml_type>(type);
    const int64_t n_block = ggml_blck_size(t.type);
    if (t.ne[0] % n_block != 0) {
        in.fail_at(fmt::format("tensor '{}' has rows of {} values, not a multiple of {}'s block of {}", t.name, t.ne[0],
                               ggml_type_name(t.type), n_block),
                   at);
    }
    // Elements first, then bytes: both must fit in an int64, with room for padding.
    constexpr auto limit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / 4;
    uint64_t       bytes = static_cast<uint64_t>(t.ne[0] / n_block) * ggml_type_size(t.type);
    uint64_t       n     = static_cast<uint64_t>(t.ne[0]);
    bool           fits  = n < limit / ggml_type_size(t.type);
    for (int d = 1; d < 4 && fits; ++d) {
        const auto ne = static_cast<uint64_t>(t.ne[d]);
        fits          = ne == 0 || (bytes <= limit / ne && n <= limit / ne);
        bytes *= fits ? ne : 0;
        n *= fits ? ne : 0;
    }
    if (!fits) {
        in.fail_at(fmt::format("tensor '{}' has a size that does not fit in 64 bits", t.name), at);
    }
    t.size = bytes;
}

tensor_info read_tensor_info(byte_cursor & in) {
    tensor_info    t;
    const uint64_t at = in.position();
    t.name            = in.get_string("a tensor name");
    if (t.name.empty() || t.name.size() >= GGML_MAX_NAME || t.name.find('\0') != std::string::npos) {
        in.fail_at(fmt::format("a tensor name is {} bytes long or holds a NUL; 1 to {} are allowed", t.name.size(),
                               GGML_MAX_NAME - 1),
                   at);
    }
    t.n_dims = in.get<uint32_t>("a tensor's shape");
    if (t.n_dims > GGML_MAX_DIMS) {
        in.fail_at(
            fmt::format("tensor '{}' has {} dimensions; at most {} are allowed", t.name, t.n_dims, GGML_MAX_DIMS), at);
    }
    for (uint32_t d = 0; d < t.n_dims; ++d) {
        t.ne[d] = in.get<int64_t>("a tensor's shape");
        if (t.ne[d] < 0) {
            in.fail_at(fmt::format("tensor '{}' has a negative dimension", t.name), at);
        }
    }
    const auto type = in.get<int32_t>("a tensor's type");
    size_tensor(in, t, type, at);
    t.offset = in.get<uint64_t>("a tensor's offset");
    return t;
}

uint64_t align_up(uint64_t n, uint64_t alignment) {
    return (n + alignment - 1) / alignment * alignment;
}

}  // namespace

const metadata_entry * file_header::find(const std::string & key) const {
    const auto it =
        std::find_if(metadata.begin(), metadata.end(), [&](const metadata_entry & e) { return e.key == key; });
    return it == metadata.end() ? nullptr : &*it;
}

file_header read_header(const io::input_file & file) {
    byte_cursor in(file);
    file_header header;
    read_magic_and_version(in, header);
    const uint64_t n_tensors  = read_count(in, "the number of tensors", 8 + 1 + 4 + 4 + 8);
    const uint64_t n_metadata = read_count(in, "the number of metadata keys", 8 + 1 + 4 + 1);

    std::unordered_set<std::string> seen;
    header.metadata.reserve(n_metadata);
    for (uint64_t i = 0; i < n_metadata; ++i) {
        header.metadata.push_back(read_metadata_entry(in));
        if (!seen.insert(header.metadata.back().key).second) {
            in.fail_at(fmt::format("key '{}' occurs twice", header.metadata.back().key), header.metadata.back().begin);
        }
    }
    read_alignment(file, header);

    seen.clear();
    header.tensors_begin = in.position();
    header.tensors.reserve(n_tensors);
    for (uint64_t i = 0; i < n_tensors; ++i) {
        const uint64_t at = in.position();
        header.tensors.push_back(read_tensor_info(in));
        if (!seen.insert(header.tensors.back().name).second) {
            in.fail_at(fmt::format("tensor '{}' occurs twice", header.tensors.back().name), at);
        }
    }
    header.tensors_end = in.position();
    header.data_begin  = n_tensors == 0 ? header.tensors_end : align_up(header.tensors_end, header.alignment);
    return header;
}

std::vector<std::string> find_layout_problems(const file_header & header, uint64_t file_size) {
    std::vector<std::string>         problems;
    std::vector<const tensor_info *> by_offset;
    const uint64_t                   data_size = file_size > header.data_begin ? file_size - header.data_begin : 0;
    if (header.data_begin > file_size && !header.tensors.empty()) {
        problems.push_back("the file ends before the tensor data begins");
    }
    for (const tensor_info & t : header.tensors) {
        if (t.offset <= data_size) {
            by_offset.push_back(&t);  // the others are outside anyway, and their end may not fit in 64 bits
        }
        if (t.offset % header.alignment != 0) {
            problems.push_back(
                fmt::format("tensor '{}' begins at byte {} of the data, not a multiple of the alignment {}", t.name,
                            t.offset, header.alignment));
        }
        if (t.offset > data_size || t.size > data_size - t.offset) {
            problems.push_back(
                fmt::format("tensor '{}' ({} bytes at {} of the data) lies outside the file's {} bytes of data", t.name,
                            t.size, t.offset, data_size));
        }
    }
    std::stable_sort(by_offset.begin(), by_offset.end(),
                     [](const tensor_info * a, const tensor_info * b) { return a->offset < b->offset; });
    const tensor_info * furthest = nullptr;  // of those before, the one that reaches furthest
    for (const tensor_info * t : by_offset) {
        if (furthest != nullptr && t->offset < furthest->offset + furthest->size && t->size > 0) {
            problems.push_back(fmt::format("tensors '{}' and '{}' overlap by {} bytes", furthest->name, t->name,
                                           std::min(furthest->end(), t->end()) - t->offset));
        }
        if (furthest == nullptr || t->end() > furthest->end()) {
            furthest = t;
        }
    }
    if (!problems.empty()) {
        return problems;
    }
    uint64_t expected = 0;  // ggml asks for this and nothing else
    for (const tensor_info & t : header.tensors) {
        if (t.offset != expected) {
            problems.push_back(fmt::format("tensor '{}' begins at byte {} of the data where {} is expected", t.name,
                                           t.offset, expected));
            break;
        }
        expected = align_up(t.end(), header.alignment);
    }
    return problems;
}

}  // namespace moescope::gguf
