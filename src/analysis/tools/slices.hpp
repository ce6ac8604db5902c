#pragma once

#include <cstdint>
#include <vector>

#include "core/routing.hpp"

namespace moescope::analysis {

// The experts whose slices a ubatch reads in a block: each once however many rows select it, by rising id, as ggml reads
// them. Ids that are not experts are left out.
void slices_read(const block_rows & rows, std::vector<uint32_t> & ids);

// Whether any block of the ubatch has a row: a filter may have left none.
bool selects_any(const routed_ubatch & u);

}  // namespace moescope::analysis
