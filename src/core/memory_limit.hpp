#pragma once

#include <cstdint>
#include <string>

namespace moescope {

// What a table of all pairs of experts may take: several times what the largest models need. More than this comes from an id
// that is none, and would end in swapping or in std::bad_alloc.
inline constexpr uint64_t max_table_bytes = uint64_t{2} << 30;

// Throws error with the number where `what` ("the pairs of 30,001 experts") would take more than max_table_bytes.
void require_memory(const std::string & what, double bytes);

}  // namespace moescope
