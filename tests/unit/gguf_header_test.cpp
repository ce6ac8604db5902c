#include "support/gguf_builder.hpp"

#include "core/error.hpp"
#include "gguf/model_file.hpp"

#include <fstream>
#include <gtest/gtest.h>
#include <limits>

using namespace moescope;
using namespace moescope::test;

namespace {

gguf_builder two_tensors() {
    gguf_builder b;
    b.add_string("general.architecture", "llama");
    b.add_u32("llama.block_count", 1);
    b.add_tensor("a.weight", GGML_TYPE_F32, {16});
    b.add_tensor("b.weight", GGML_TYPE_F32, {16});
    return b;
}

// What opening the file says, or nothing where it opens.
std::string refusal(const std::string & path) {
    try {
        const gguf::model_file model(path);
        return {};
    } catch (const error & e) {
        return e.what();
    }
}

std::string refusal(const gguf_builder & b) {
    const scratch_folder dir;
    return refusal(b.write(dir / "m.gguf"));
}

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << "says: " << (text)

}  // namespace

TEST(gguf_header, a_sound_file_opens) {
    EXPECT_EQ(refusal(two_tensors()), "");
}

// Whatever byte a download stops at, the file is refused with a message and never read past its end.
TEST(gguf_header, every_truncation_is_refused) {
    const scratch_folder dir;
    const std::string    path = two_tensors().write(dir / "m.gguf");
    EXPECT_EQ(refusal(path), "");
    for (uint64_t n = std::filesystem::file_size(path); n-- > 0;) {
        std::filesystem::resize_file(path, n);
        EXPECT_NE(refusal(path), "") << n;
    }
}

// Every single byte of the header set to each of a few nasty values: opens or is refused, but does not abort or hang.
TEST(gguf_header, no_single_byte_aborts) {
    const scratch_folder dir;
    const std::string    head = two_tensors().header();
    const std::string    path = two_tensors().write(dir / "m.gguf");
    std::fstream         file(path, std::ios::binary | std::ios::in | std::ios::out);
    int                  n_refused = 0;
    const auto           set_byte  = [&](size_t i, char value) {
        file.seekp(static_cast<std::streamoff>(i));
        file.put(value).flush();
    };
    for (size_t i = 0; i < head.size(); ++i) {
        for (const unsigned char value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
            set_byte(i, static_cast<char>(value));
            n_refused += refusal(path).empty() ? 0 : 1;
        }
        set_byte(i, head[i]);
    }
    EXPECT_GT(n_refused, 100);
    EXPECT_EQ(refusal(path), "");
}

TEST(gguf_header, wrong_magic_and_versions) {
    gguf_builder b = two_tensors();
    b.magic        = "GGML";
    EXPECT_SAYS(refusal(b), "not a GGUF file");
    for (const uint32_t version : {0u, 1u, 4u}) {
        b         = two_tensors();
        b.version = version;
        EXPECT_SAYS(refusal(b), "version");
    }
    b         = two_tensors();
    b.version = 0x03000000;
    EXPECT_SAYS(refusal(b), "byte order");
    EXPECT_SAYS(refusal("/nonexistent.gguf"), "cannot open");
    EXPECT_SAYS(refusal("/tmp"), "regular file");
}

TEST(gguf_header, huge_counts) {
    for (const uint64_t n : {uint64_t(1) << 20, uint64_t(1) << 40, std::numeric_limits<uint64_t>::max()}) {
        gguf_builder b       = two_tensors();
        b.n_tensors_override = n;
        EXPECT_SAYS(refusal(b), "number of tensors");
        b               = two_tensors();
        b.n_kv_override = n;
        EXPECT_SAYS(refusal(b), "number of metadata keys");
    }
    gguf_builder b = two_tensors();
    b.add_array("big", GGUF_TYPE_UINT64, std::numeric_limits<uint64_t>::max() / 8 + 2);  // times 8 wraps to 8
    EXPECT_SAYS(refusal(b), "more than the file can");
    b = two_tensors();
    b.add_array("big", GGUF_TYPE_STRING, uint64_t(1) << 60);
    EXPECT_SAYS(refusal(b), "more than the file can");
}

TEST(gguf_header, strings_without_end) {
    for (const uint64_t n : {uint64_t(1) << 31, uint64_t(1) << 63, std::numeric_limits<uint64_t>::max()}) {
        gguf_builder b = two_tensors();
        b.add_key("s", GGUF_TYPE_STRING);
        gguf_builder::put(b.raw_metadata(), n);
        EXPECT_SAYS(refusal(b), "past the end of the file");
    }
}

TEST(gguf_header, types_that_ggml_would_abort_on) {
    gguf_builder b    = two_tensors();
    b.tensors[0].type = 4711;
    EXPECT_SAYS(refusal(b), "does not know");
    b                 = two_tensors();
    b.tensors[0].type = 4;  // Q4_2, removed long ago
    EXPECT_SAYS(refusal(b), "does not know");
    b = two_tensors();
    b.add_key("k", 99);
    EXPECT_SAYS(refusal(b), "unknown type");
    b = two_tensors();
    b.add_array("k", GGUF_TYPE_ARRAY, 1);
    gguf_builder::put(b.raw_metadata(), uint64_t(0));
    EXPECT_SAYS(refusal(b), "arrays of arrays");
    b = two_tensors();
    b.add_u16("general.alignment", 32);
    EXPECT_SAYS(refusal(b), "general.alignment");
    b = two_tensors();
    b.add_u32("general.alignment", 24);
    EXPECT_SAYS(refusal(b), "power of two");
    b = two_tensors();
    b.add_u32("general.alignment", 1u << 31);  // 2 GB of padding
    EXPECT_SAYS(refusal(b), "power of two");
}

TEST(gguf_header, shapes_that_overflow) {
    const int64_t big = int64_t(1) << 32;
    for (const std::vector<int64_t> & ne : {std::vector<int64_t>{big, big},
                                            {big, big, big, big},
                                            {int64_t(1) << 62, 4},
                                            {3, int64_t(1) << 62},
                                            {std::numeric_limits<int64_t>::max()}}) {
        gguf_builder b  = two_tensors();
        b.tensors[1].ne = ne;
        EXPECT_SAYS(refusal(b), "64 bits");
    }
    gguf_builder b  = two_tensors();
    b.tensors[1].ne = {-16};
    EXPECT_SAYS(refusal(b), "negative");
    b               = two_tensors();
    b.tensors[1].ne = {1, 1, 1, 1, 16};
    EXPECT_SAYS(refusal(b), "dimensions");
    b                 = two_tensors();
    b.tensors[1].type = GGML_TYPE_Q4_0;
    EXPECT_SAYS(refusal(b), "block");
}

TEST(gguf_header, names) {
    gguf_builder b    = two_tensors();
    b.tensors[1].name = "a.weight";
    EXPECT_SAYS(refusal(b), "twice");
    b                 = two_tensors();
    b.tensors[1].name = std::string(64, 'x');
    EXPECT_SAYS(refusal(b), "tensor name");
    b                 = two_tensors();
    b.tensors[1].name = std::string("a.weight\0b", 10);  // ggml would read this as a.weight
    EXPECT_SAYS(refusal(b), "NUL");
    b = two_tensors();
    b.add_u32("llama.block_count", 2);
    EXPECT_SAYS(refusal(b), "twice");
}

TEST(gguf_header, the_check_names_overlapping_pairs) {
    const scratch_folder dir;
    gguf_builder         b = two_tensors();
    b.add_tensor("c.weight", GGML_TYPE_F32, {16});
    b.tensors[2].offset    = 96;  // the second half of b
    const std::string path = b.write(dir / "m.gguf");
    EXPECT_SAYS(refusal(path), "overlap");
    const auto problems = gguf::check_model_layout(path);
    ASSERT_EQ(problems.size(), 1u);
    EXPECT_SAYS(problems[0], "'b.weight' and 'c.weight' overlap by 32 bytes");
}

TEST(gguf_header, the_check_finds_misplaced_tensors) {
    const scratch_folder dir;
    gguf_builder         b = two_tensors();
    b.tensors[1].offset    = 72;
    EXPECT_SAYS(gguf::check_model_layout(b.write(dir / "misaligned.gguf")).at(0), "not a multiple of the alignment");
    b.tensors[1].offset = 128;
    EXPECT_SAYS(gguf::check_model_layout(b.write(dir / "gap.gguf")).at(0), "where 64 is expected");
    b                      = two_tensors();
    b.tensors[1].offset    = std::numeric_limits<uint64_t>::max() - 31;
    b.tensors[1].size      = 0;
    const std::string path = dir / "outside.gguf";
    std::ofstream(path, std::ios::binary) << b.header() << std::string(256, '\0');
    EXPECT_SAYS(gguf::check_model_layout(path).at(0), "outside the file");
    EXPECT_TRUE(gguf::check_model_layout(two_tensors().write(dir / "sound.gguf")).empty());
}
