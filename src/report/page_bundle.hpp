#pragma once

#include <string>

#include "report/page_data.hpp"

namespace moescope::report {

// The bytes of a whole page (see bundle.hpp). `compress` for a file, not for a local connection.
std::string to_bytes(const page & p, bool compress);

// The bytes of one stretch of tokens of a run with these blocks.
std::string to_bytes(const token_tile & tile, const graph_layout & blocks, bool compress);

// The bytes of the co-selections of one block.
std::string pairs_to_bytes(const std::vector<uint64_t> & triangle);

// The bytes of a run's prompts.
std::string prompts_to_bytes(const page_prompts & prompts);

// The bytes of simulated caches.
std::string cache_to_bytes(const page_cache & cache);

}  // namespace moescope::report
