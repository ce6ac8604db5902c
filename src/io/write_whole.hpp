#pragma once

#include <cstddef>

namespace moescope::io {

// Writes all of it to a descriptor. No signal that a failing write raises reaches the program: over RLIMIT_FSIZE (SIGXFSZ) or
// to a pipe that nobody reads (SIGPIPE) it would end a host that never asked for this output. Returns 0, or the errno.
int write_whole(int fd, const void * data, size_t size) noexcept;

}  // namespace moescope::io
