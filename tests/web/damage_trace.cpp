// Damaged traces whose checksums are right, each in another way: damage_trace TRACE FOLDER COUNT writes FOLDER/0.moetrace, ….

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "core/random_stream.hpp"
#include "support/right_checksums.hpp"

using namespace moescope;

namespace {

// A bit, a byte, or a number of those at which readers go wrong.
void damage(std::string & bytes, random_stream & random) {
    constexpr uint32_t numbers[] = {0, 1, 255, 65536, 0x7fffffff, 0x80000000, 0xffffffff};
    constexpr uint32_t begin     = sizeof(trace::file_header);

    const uint32_t at = begin + random.below(static_cast<uint32_t>(bytes.size()) - begin - 4);
    switch (random.below(3)) {
        case 0: bytes[at] = static_cast<char>(bytes[at] ^ 1 << random.below(8)); break;
        case 1: bytes[at] = static_cast<char>(random.below(256)); break;
        default: std::memcpy(&bytes[at / 4 * 4], &numbers[random.below(std::size(numbers))], 4);
    }
}

}  // namespace

int main(int argc, char ** argv) {
    if (argc != 4) {
        std::fputs("usage: damage_trace TRACE FOLDER COUNT\n", stderr);
        return 2;
    }
    std::ifstream     in(argv[1], std::ios::binary);
    const std::string whole((std::istreambuf_iterator<char>(in)), {});
    random_stream     random(1);
    for (int i = 0; i < std::atoi(argv[3]); ++i) {
        std::string bytes = whole;
        for (uint32_t n = 1 + random.below(4); n > 0; --n) {
            damage(bytes, random);
        }
        test::make_checksums_right(bytes);
        std::ofstream out(std::string(argv[2]) + "/" + std::to_string(i) + ".moetrace", std::ios::binary);
        out << bytes;
    }
}
