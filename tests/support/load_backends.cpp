// Linked into programs of ours that use llama.cpp without moescope's own engine: with prebuilt libraries the backends are
// modules, and must be loaded before anything asks for a device.

#include "infer/backends.hpp"

namespace {

__attribute__((constructor)) void load_backends_first() {
    moescope::infer::load_backends();
}

}  // namespace
