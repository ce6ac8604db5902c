#pragma once

namespace moescope::capturing {

// Provided by whoever links the hooks:

// Called at the beginning of every interposed call with an address inside the calling library; cheap after the first
// time. The recorder sets its tap up here; a program that captures itself does nothing. Must not throw.
void on_first_call(void * caller) noexcept;

// Whether the running llama.cpp's llama_batch is the one of the headers that this was compiled with.
bool batch_layout_is_known() noexcept;

}  // namespace moescope::capturing
