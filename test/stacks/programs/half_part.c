/* Inlined across files when both are optimised as a whole. */
#include <string.h>
#include <unistd.h>

static inline int emit(const char *text) {
    return (int)write(1, text, strlen(text));
}

int halves(int depth) {
    int sum = 0;
    for (int k = 0; k < depth; k++)
        sum += emit("half\n") + (k > 1 ? emit("more\n") : 0);
    return sum;
}
