#include "support/gguf_builder.hpp"

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

std::string read(const std::string & path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

// Slabs so large that the kernel copies each run, small ones that are gathered, and both in turn.
TEST(gguf_output, slabs_of_every_size_land_where_they_belong) {
    const scratch_folder       dir;
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
