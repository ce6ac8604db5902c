// A program that captures itself was compiled with the very headers of the llama.cpp it runs, and sets its tap itself.

#include "capture/hooks/hooks.hpp"

namespace moescope::capturing {

void on_first_call(void *) noexcept {}

bool batch_layout_is_known() noexcept {
    return true;
}

}  // namespace moescope::capturing
