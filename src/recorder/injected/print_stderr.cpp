#include "recorder/injected/print_stderr.hpp"

#include <unistd.h>

#include "io/write_whole.hpp"

namespace moescope::recorder {

void print_stderr(const std::string & lines) {
    io::write_whole(STDERR_FILENO, lines.data(), lines.size());  // a closed stderr is the host's choice
}

}  // namespace moescope::recorder
