/* Calls of several threads, one after the other. */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static void *run(void *text) {
    for (int k = 0; k < 3; k++)
        if (write(1, text, strlen(text)) < 0)
            return text;
    return NULL;
}

int main(void) {
    for (int k = 0; k < 3; k++) {
        pthread_t thread;
        pthread_create(&thread, NULL, run, "thread\n");
        pthread_join(thread, NULL);
    }
    run("main\n");
    return 0;
}
