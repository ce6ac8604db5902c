// libFuzzer target: any bytes as a GGUF file are opened, mapped, checked and planned for pruning, or refused with moescope::error.

#include "common.hpp"
#include "core/error.hpp"
#include "gguf/map_format.hpp"
#include "gguf/memory_map.hpp"
#include "prune/plan.hpp"

using namespace moescope;

namespace {

void map_and_plan(const std::string & path) {
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
    const fuzz::memory_file file(fuzz::text_of(data, size));
    for (void (*use)(const std::string &) :
         {map_and_plan, +[](const std::string & p) { gguf::check_model_layout(p); }}) {
        try {
            use(file.path());
        } catch (const error &) {  // anything else ends the run
        }
    }
    return 0;
}
