#pragma once

#include <string>
#include <vector>

namespace moescope::infer {

// Loads ggml's backends if they are modules (prebuilt libraries of llama.cpp): from the folder that libggml lies in, since
// ggml itself looks only beside the program. Before the first use of llama.cpp's options or of a model; again does nothing.
void load_backends();

// What llama.cpp could compute on here, "CPU: AMD EPYC 9124", a line each.
std::vector<std::string> list_devices();

// "0.25.1": the version of the ggml that moescope itself runs on, and the folder that it was loaded from.
std::string own_ggml_version();
std::string own_ggml_folder();

}  // namespace moescope::infer
