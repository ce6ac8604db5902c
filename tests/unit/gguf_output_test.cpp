#include "gguf_builder.hpp"

#include "core/error.hpp"
#include "io/output_file.hpp"
#include "prune/sliced_copy.hpp"

#include <gtest/gtest.h>

using namespace moescope;
using namespace moescope::test;

namespace {

std::string pattern(size_t n) {
    std::string bytes(n, '\0');
    uint32_t    state = 1;
    for (char & c : bytes) {
        state = state * 1664525u + 1013904223u;  // Numerical Recipes' generator: no two places look alike
        c     = static_cast<char>(state >> 24);
    }
    return bytes;
}

std::string write(const std::string & path, const std::string & bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
}

std::string read(const std::string & path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

size_t n_files(const temp_dir & dir) {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(std::filesystem::path(dir / "")), {}));
}

}  // namespace

TEST(GgufOutput, appears_only_when_complete) {
    const temp_dir dir;
    {
        io::output_file out(dir / "a");
        out.write_at(0, "abc", 3);
        EXPECT_FALSE(std::filesystem::exists(dir / "a"));
    }
    EXPECT_EQ(n_files(dir), 0u);
    io::output_file out(dir / "a");
    out.reserve(6);
    out.write_at(2, "abc", 3);
    out.commit();
    EXPECT_EQ(read(dir / "a"), std::string("\0\0abc\0", 6));
    EXPECT_EQ(n_files(dir), 1u);
    EXPECT_THROW(io::output_file(dir / "no/such/folder/a"), error);
}

TEST(GgufOutput, a_disk_that_is_too_small_is_noticed_first) {
    const temp_dir  dir;
    io::output_file out(dir / "a");
    EXPECT_THROW(out.reserve(uint64_t(1) << 60), error);
}

// Within a file system the kernel copies; from memory to disk it may refuse, and then the bytes go through a buffer.
TEST(GgufOutput, copies_between_file_systems_as_within_one) {
    const temp_dir    dir;
    const std::string bytes  = pattern(9'000'001);  // more than one buffer, and no multiple of anything
    std::string       shared = "/dev/shm/moescope-output-test-" + std::to_string(::getpid());
    for (const std::string & source : {dir / "source", shared}) {
        if (source == shared && !std::filesystem::exists("/dev/shm")) {
            continue;
        }
        const io::input_file in(write(source, bytes));
        io::output_file      out(dir / "copy");
        uint64_t             heard = 0;
        out.copy_from(in, 5, 3, 8'999'990, [&](uint64_t n) { heard += n; });
        out.commit();
        EXPECT_EQ(heard, 8'999'990u);
        EXPECT_TRUE(read(dir / "copy") == std::string(3, '\0') + bytes.substr(5, 8'999'990));
        EXPECT_THROW(io::output_file(dir / "b").copy_from(in, 9'000'000, 0, 2), error);  // past the end
    }
    std::filesystem::remove(shared);
}

// Slabs so large that the kernel copies each run, small ones that are gathered, and both in turn.
TEST(GgufOutput, slabs_of_every_size_land_where_they_belong) {
    const temp_dir             dir;
    const size_t               sizes[]   = {4, 1000, 300'000, 1'500'000};
    const std::vector<int32_t> choices[] = {{0, 1, 2, 3, 4, 5, 6, 7}, {0}, {7}, {0, 2, 4, 6}, {1, 2, 3, 6, 7}};
    gguf_builder               b;
    std::vector<std::string>   contents;
    for (const size_t size : sizes) {
        contents.push_back(pattern(size * 8 + contents.size()).substr(contents.size()));
        b.add_tensor("t" + std::to_string(size), GGML_TYPE_I8, {static_cast<int64_t>(size), 8},
                     {contents.back().begin(), contents.back().end()});
    }
    const gguf::model_file source(b.write(dir / "source.gguf"));
    for (const auto & kept : choices) {
        std::vector<prune::tensor_slice> slices;
        for (size_t i = 0; i < source.tensors().size(); ++i) {
            prune::tensor_slice slice;
            slice.tensor = i;
            slice.whole  = false;
            slice.axis   = 1;
            slice.kept   = kept;
            slices.push_back(slice);
        }
        prune::write_sliced(source, {}, slices, dir / "out.gguf");
        const gguf::model_file out(dir / "out.gguf");
        const std::string      bytes = read(dir / "out.gguf");
        for (size_t i = 0; i < slices.size(); ++i) {
            const auto & t = out.tensors()[i];
            ASSERT_EQ(t.size, sizes[i] * kept.size());
            for (size_t j = 0; j < kept.size(); ++j) {
                const auto slab = bytes.substr(out.parts()[0].header.data_begin + t.offset + j * sizes[i], sizes[i]);
                EXPECT_TRUE(slab == contents[i].substr(static_cast<size_t>(kept[j]) * sizes[i], sizes[i]))
                    << t.name << " " << kept[j];
            }
        }
    }
}
