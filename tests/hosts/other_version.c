/* Preloaded behind the recorder: a ggml that says it is another version. */
const char * ggml_version(void) {
    return "9.9.9";
}
