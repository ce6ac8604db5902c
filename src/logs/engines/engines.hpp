#pragma once

// One maker for each kind of file that other engines write; docs/logs.md tells what is taken from each. All throw error
// naming the path.

#include <memory>
#include <string>

#include "logs/engines/torch_file.hpp"
#include "trace/source.hpp"

namespace moescope::logs {

// torch.save files: SGLang's expert distribution recorder (stat, per_pass, per_token), ktransformers, Cerebras.
std::unique_ptr<trace::trace_source> open_torch(const std::string & path);
std::unique_ptr<trace::trace_source> open_sglang_counts(const torch_file & file);
std::unique_ptr<trace::trace_source> open_sglang_passes(const torch_file & file);
std::unique_ptr<trace::trace_source> open_sglang_tokens(std::unique_ptr<torch_file> file);
std::unique_ptr<trace::trace_source> open_activation_freq(const torch_file & file);
std::unique_ptr<trace::trace_source> open_cerebras(const torch_file & file);

// vLLM's routed experts, as .npy or in responses.
std::unique_ptr<trace::trace_source> open_npy(const std::string & path);
std::unique_ptr<trace::trace_source> open_vllm_responses(const std::string & path);

// Router logits of Hugging Face's transformers, saved by numpy.savez.
std::unique_ptr<trace::trace_source> open_router_logits(const std::string & path);

// Megatron's router trace.
std::unique_ptr<trace::trace_source> open_megatron(const std::string & path);

// Whatever the beginning of a JSON file belongs to; null: to none of these.
std::unique_ptr<trace::trace_source> open_json(const std::string & path);

}  // namespace moescope::logs
