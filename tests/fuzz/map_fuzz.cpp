// Any bytes as a GGUF file: opened, mapped, checked and planned for pruning, or refused with moescope::error.
//   cmake --preset fuzz && cmake --build --preset fuzz
//   build-fuzz/tests/map_fuzz -max_len=4096 corpus tests/fuzz/map_corpus

#include "core/error.hpp"
#include "gguf/map_format.hpp"
#include "gguf/memory_map.hpp"
#include "prune/plan.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

namespace {

// A file in memory, under a name that model_file can open.
class memory_file {
public:
    memory_file() : fd_(::memfd_create("map_fuzz", 0)), path_("/proc/self/fd/" + std::to_string(fd_)) {}
    ~memory_file() { ::close(fd_); }

    const std::string & fill(const uint8_t * data, size_t size) {
        if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, data, size, 0) != static_cast<ssize_t>(size)) {
            std::abort();
        }
        return path_;
    }

private:
    int         fd_;
    std::string path_;
};

void map_and_plan(const std::string & path) {
    using namespace moescope;
    const gguf::model_file model(path);
    const gguf::memory_map map = gguf::build_memory_map(model);
    gguf::map_to_csv(map, model, true);
    gguf::map_to_json(map, model);
    prune::prune_request request;
    request.criterion = prune::prune_criterion::random;
    request.n_keep    = prune::keep_for_ratio(map.shape, 0.5);
    prune::plan_prune(model, request);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    static memory_file  file;
    const std::string & path = file.fill(data, size);
    for (void (*use)(const std::string &) :
         {map_and_plan, +[](const std::string & p) { moescope::gguf::check_model_layout(p); }}) {
        try {
            use(path);
        } catch (const moescope::error &) {  // anything else ends the run
        }
    }
    return 0;
}
