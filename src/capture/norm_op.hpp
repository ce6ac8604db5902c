#pragma once

struct ggml_tensor;

namespace moescope::capture {

// A ggml custom operation: dst [k, n] of f32 gets the Euclidean norms of the columns of src[0] [n_embd, k, n], in one pass
// by all threads. For schedulers whose backends are all the CPU.
void column_norms(ggml_tensor * dst, int ith, int nth, void * userdata);

}  // namespace moescope::capture
