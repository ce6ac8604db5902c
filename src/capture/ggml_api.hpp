#pragma once

// The ggml and llama functions that capture calls, found at run time in whatever library the program loaded.
// ggml_tensor's layout, by contrast, is compiled in (docs/capture.md, trap 13: self_test.hpp guards it).

#include <string>

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml.h>
#include <llama.h>

namespace moescope::capture {

// The tensor whose memory t lies in.
inline ggml_tensor * root_of(ggml_tensor * t) {
    return t->view_src != nullptr ? t->view_src : t;
}

// clang-format off
#define MOESCOPE_GGML_FUNCTIONS(X)                                                                                      \
    X(ggml_init) X(ggml_free) X(ggml_reset) X(ggml_tensor_overhead)                                                     \
    X(ggml_graph_n_nodes) X(ggml_graph_nodes) X(ggml_graph_size) X(ggml_build_forward_expand)                           \
    X(ggml_set_output) X(ggml_set_name) X(ggml_get_name) X(ggml_get_data) X(ggml_nbytes) X(ggml_nelements)              \
    X(ggml_element_size) X(ggml_op_name) X(ggml_type_name) X(ggml_cont) X(ggml_sqr) X(ggml_sum_rows)                    \
    X(ggml_backend_tensor_get) X(ggml_backend_buffer_is_host) X(ggml_backend_buffer_get_usage)                          \
    X(ggml_backend_buffer_get_type) X(ggml_backend_supports_buft) X(ggml_backend_get_device) X(ggml_backend_dev_type)   \
    X(ggml_backend_sched_get_n_backends) X(ggml_backend_sched_get_backend) X(ggml_backend_sched_set_tensor_backend)     \
    X(ggml_backend_sched_synchronize)

// Absent in some versions, or where only ggml is used: what depends on one of these is then unknown.
#define MOESCOPE_LLAMA_FUNCTIONS(X)                                                                                     \
    X(ggml_version) X(ggml_custom_4d) X(llama_decode) X(llama_encode) X(llama_free) X(llama_perf_context_reset)         \
    X(llama_set_warmup) X(llama_get_model) X(llama_get_memory) X(llama_memory_clear) X(llama_memory_seq_pos_max)        \
    X(llama_max_parallel_sequences) X(ggml_build_forward_select) X(llama_model_get_vocab)                               \
    X(llama_model_meta_count) X(llama_model_meta_key_by_index) X(llama_model_meta_val_str_by_index)                     \
    X(llama_model_meta_val_str) X(llama_vocab_n_tokens) X(llama_token_to_piece)

// What masks are made of. Where one of these is missing, there are none.
#define MOESCOPE_MASK_FUNCTIONS(X)                                                                                      \
    X(ggml_add) X(ggml_get_rows) X(ggml_new_tensor_2d) X(ggml_backend_alloc_ctx_tensors_from_buft)                      \
    X(ggml_backend_get_default_buffer_type) X(ggml_backend_buffer_set_usage) X(ggml_backend_buffer_free)                \
    X(ggml_backend_tensor_set)

// What the columns gram and runner-up are made of, beside these.
#define MOESCOPE_GRAM_FUNCTIONS(X)                                                                                      \
    X(ggml_mul) X(ggml_mul_mat) X(ggml_scale) X(ggml_concat) X(ggml_reshape_2d) X(ggml_reshape_3d)
// clang-format on

struct ggml_api {
#define X(name) decltype(&::name) name = nullptr;
    MOESCOPE_GGML_FUNCTIONS(X)
    MOESCOPE_LLAMA_FUNCTIONS(X)
    MOESCOPE_MASK_FUNCTIONS(X)
    MOESCOPE_GRAM_FUNCTIONS(X)
#undef X

    // Looks everything up in the scope of the library that `caller` lies in (null: of the program). False, with the first
    // missing ggml function in `missing`, when capture is impossible.
    bool resolve(void * caller, std::string & missing);

    // The first function that masks need and that is missing, or null.
    const char * missing_for_masks() const;

    // Whether t is the result of an operation of this header's enumeration. Versions number their operations differently;
    // their names tell which is which.
    bool is(const ggml_tensor * t, ggml_op op) const {
        return t != nullptr && static_cast<int>(t->op) == op_code[op];
    }
    // Builds of before August 2025 do not say which they are.
    const char * version() const {
        return ggml_version != nullptr ? ggml_version() : "of unknown version";
    }
    // Whether the node takes part in the computation. Versions without ggml_build_forward_select compute every node.
    bool computes(const ggml_tensor * t) const {
        return ggml_build_forward_select == nullptr || (t->flags & GGML_TENSOR_FLAG_COMPUTE) != 0;
    }

    ggml_api() {
        for (int op = 0; op < GGML_OP_COUNT; ++op) {
            op_code[op] = op;
        }
    }

private:
    bool number_operations(std::string & missing);

    int op_code[GGML_OP_COUNT];  // the running library's number of each operation that capture looks for
};

// What the calls of one library reach without us: behind our own definitions (RTLD_NEXT) what all libraries see, else what
// the library itself and those that it depends on define. Keeps the library loaded.
class library_scope {
public:
    explicit library_scope(void * address);    // anywhere in the library; null: only what all libraries see
    void * find(const char * function) const;  // null when there is none

private:
    void * library_ = nullptr;
};

}  // namespace moescope::capture
