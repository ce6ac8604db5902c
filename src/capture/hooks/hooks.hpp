#pragma once

namespace moescope::capture {

class tap;

// The tap of one copy of ggml (reached_functions::copy), or null when nothing of it is captured. Asked at the beginning of
// every interposed call, with an address in the calling library; cheap after the first time. Provided by whoever links the
// hooks: the recorder sets a tap up here for each copy, a program that captures itself has one. Must not throw.
tap * tap_of(const void * copy, void * caller) noexcept;

}  // namespace moescope::capture
