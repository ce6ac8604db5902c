#pragma once

struct ggml_tensor;

namespace moescope::capture {

// ggml custom operations, in one pass by all threads, for schedulers whose backends are all the CPU.

// dst [m * m, n] gets the dot products of m vectors per row: the columns of src[0] [n_embd, m - 2, n], each times a factor,
// and the rows of src[1] and src[2], both [n_embd, n].
void column_gram(ggml_tensor * dst, int ith, int nth, void * factor);

// The factor as what ggml hands on to column_gram.
void * gram_factor(float factor);

// dst [k, n] gets the largest absolute element of each column of src[0] [n_embd, k, n].
void column_peaks(ggml_tensor * dst, int ith, int nth, void *);

}  // namespace moescope::capture
