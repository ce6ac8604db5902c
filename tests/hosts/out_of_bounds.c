// A library that reads behind what it has, as soon as it is loaded: what tests/sanitized must notice in any program.

#include <stdlib.h>

__attribute__((noipa)) static void look_at(const volatile char * byte) {
    (void)*byte;
}

__attribute__((constructor)) static void misuse(void) {
    char * bytes = malloc(8);
    look_at(bytes + 8);
    free(bytes);
}
