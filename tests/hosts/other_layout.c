/* Preloaded behind the recorder: a ggml whose tensors keep their data pointer somewhere else. llama.cpp itself reads the
   field, not this function, so the host computes as ever. */
struct ggml_tensor;
void * ggml_get_data(const struct ggml_tensor * tensor) {
    return (char *)tensor + 8;
}
