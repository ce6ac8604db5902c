#pragma once

#include <string>

struct common_params;

namespace moescope::infer {

// Has the model loaded with one expert more than a token uses; capture with the column runner-up takes its gate out again.
// Returns why that cannot be, with the parameters as they were; or "".
std::string load_with_runner_up(common_params & params);

}  // namespace moescope::infer
