/* moescope for programs that embed it: static builds of llama.cpp, into which no recorder can be loaded.
 *
 *     moescope_options options = { .output = "x.moetrace" };
 *     char error[256];
 *     moescope_capture * m = moescope_create(&options, error, sizeof error);
 *     params.cb_eval           = moescope_eval;       (llama_context_params)
 *     params.cb_eval_user_data = m;
 *     ...  moescope_batch(m, ctx, &batch);  llama_decode(ctx, batch);  ...
 *     moescope_finish(m, error, sizeof error);
 *
 * One capture belongs to one llama_context and is used by the thread that uses the context. Nothing here ends the
 * program: what goes wrong ends the recording and is told by moescope_finish. A program may go on without a capture: NULL
 * records nothing everywhere.
 */
#ifndef MOESCOPE_H
#define MOESCOPE_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ggml_tensor;
struct llama_batch;
struct llama_context;

/* The version of this interface. The shared library carries it in its name (libmoescope.so.1); functions and options are
 * only added while it stays. */
#define MOESCOPE_API 1

typedef struct moescope_capture moescope_capture;

/* Zero or NULL is the default of each. Strings are copied. */
typedef struct moescope_options {
    const char * output; /* trace file, which must not exist; required */
    const char *
        capture;         /* capture list, e.g. "ids,weights,norms"; default ids,weights; access is not available here */
    const char * layers; /* e.g. "0,2,20-24"; default all */
    bool         replace; /* replace an existing trace; other files stay */
    const char * mask;    /* e.g. "omit 5:15,3:28-30; only 4:0-7; bias 2:1=-2": experts that are switched off, or whose
                             router's scores are pushed. Changes what the program computes; default none */
    const void * reserved[4]; /* for options to come */
} moescope_options;

/* The version of the library that is loaded, e.g. "0.1.0". */
const char * moescope_version(void);

/* NULL on failure, with one line in error (always terminated, cut to error_size). */
moescope_capture * moescope_create(const moescope_options * options, char * error, size_t error_size);

/* A ggml_backend_sched_eval_callback; user_data is the capture. Always lets the computation go on. */
bool moescope_eval(struct ggml_tensor * tensor, bool ask, void * user_data);

/* Before each llama_decode or llama_encode: gives rows their sequences and tokens their texts. Without it the trace has
 * sequence -1 everywhere and no texts. The batch is read during the call only. */
void moescope_batch(moescope_capture * capture, struct llama_context * ctx, const struct llama_batch * batch);

/* Writes what is pending, closes the trace and frees the capture. The context must not compute with it afterwards.
 * 0 when all was recorded; else 1, with one line in error. */
int moescope_finish(moescope_capture * capture, char * error, size_t error_size);

#ifdef __cplusplus
}
#endif

#endif
