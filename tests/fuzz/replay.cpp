// Every seed through its target once, without libFuzzer: what was found and mended stays mended, whatever the compiler.
// CMake gives each target's function the target's name, and the list of them as FUZZ_TARGETS: X(logs) X(trace) …

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#define X(name) extern "C" int fuzz_##name(const uint8_t * data, size_t size);
FUZZ_TARGETS
#undef X

namespace {

struct target {
    const char * name;
    int (*run)(const uint8_t *, size_t);
};

constexpr target targets[] = {
#define X(name) {#name, fuzz_##name},
    FUZZ_TARGETS
#undef X
};

// How many there were.
size_t replay(const target & t, const std::filesystem::path & folder) {
    std::vector<std::filesystem::path> files(std::filesystem::directory_iterator(folder), {});
    std::sort(files.begin(), files.end());
    for (const std::filesystem::path & file : files) {
        std::printf("%s: %s\n", t.name, file.filename().c_str());
        std::fflush(stdout);  // the last line names what ends the run
        std::ifstream              in(file, std::ios::binary);
        const std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(in), {}};
        t.run(bytes.data(), bytes.size());
    }
    return files.size();
}

}  // namespace

int main(int argc, char ** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: fuzz_corpus FOLDER\n");
        return 2;
    }
    for (const target & t : targets) {
        if (replay(t, std::filesystem::path(argv[1]) / (std::string(t.name) + "_corpus")) == 0) {
            std::fprintf(stderr, "fuzz_corpus: %s has no seeds\n", t.name);
            return 1;
        }
    }
    return 0;
}
