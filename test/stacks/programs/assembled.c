/* Calls from functions that were called by those of assembler.S. */
#include <unistd.h>

void saving(void (*function)(void));
void expressed(void (*function)(void));
void untold(void (*function)(void));

static volatile int sink;

static void emit(void) {
    sink = (int)write(1, "x\n", 2);
}

static void through(void) {
    expressed(emit);
    sink += 1;
}

int main(void) {
    saving(emit);
    saving(through);
    untold(emit);
    return 0;
}
