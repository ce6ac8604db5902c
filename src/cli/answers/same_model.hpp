#pragma once

// Whether inputs that are analysed together are of one model: expert numbers mean something only within one.

#include <string>

#include "analysis/cache.hpp"
#include "trace/source.hpp"

namespace moescope::cli {

// "architectures qwen3moe and gpt-oss"; empty where nothing that both know differs.
std::string why_unrelated(const model_info & a, const model_info & b);

// Inputs whose counts are added up. Throws error naming the input that is of another model than those before it, and
// usage_error for a file that came before: it would count twice.
class one_model {
public:
    void add(const std::string & path, const model_info & model, const graph_layout & blocks);

private:
    std::vector<std::string> paths_;
    model_info               model_;
    graph_layout             blocks_;
};

// Throws error where the layers of a trace do not have the experts that the GGUF model given to --model has. A foreign log
// may know of fewer.
void require_fit(const trace::trace_source & source, const analysis::expert_sizes & model,
                 const std::string & model_path);

// The model's file that a source names, where it still lies there; else "".
std::string named_model_file(const trace::trace_source & source);

}  // namespace moescope::cli
