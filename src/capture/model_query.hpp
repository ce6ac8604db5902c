#pragma once

#include <string>

#include "capture/ggml_api.hpp"
#include "capture/mtp_layers.hpp"
#include "core/routing.hpp"

namespace moescope::capture {

// What llama.cpp's API tells of a context's model. file is left empty. Works with any version: what it lacks is unknown.
model_info query_model(const ggml_api & api, const llama_context * ctx);

// The layers behind the first block_count - nextn_predict_layers.
mtp_layers mtp_layers_of(const model_info & m);

// The file whose mapping holds the address (weights of a mapped model), from the process's maps; "" when there is none,
// as with --no-mmap or weights on a device.
std::string file_behind(const void * address);

// The token's text; false when the API or the token is not there.
bool token_text(const ggml_api & api, const llama_context * ctx, int32_t token, std::string & text);

}  // namespace moescope::capture
