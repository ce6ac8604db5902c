#pragma once

namespace moescope::infer {

// Loads ggml's backends if they are modules (prebuilt libraries of llama.cpp): from the folder that libggml lies in, since
// ggml itself looks only beside the program. Before the first use of llama.cpp's options or of a model; again does nothing.
void load_backends();

}  // namespace moescope::infer
