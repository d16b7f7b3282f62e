/* Loads a library, and is called by it. */
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

static int called_back(const char *text) {
    return (int)write(1, text, strlen(text)) + 1;
}

int main(int count, char **words) {
    void *library = count > 1 ? dlopen(words[1], RTLD_NOW) : NULL;
    if (library == NULL)
        return 1;
    int (*apply)(int (*)(const char *), const char *) = (int (*)(int (*)(const char *), const char *))dlsym(library, "apply");
    int sum = apply(called_back, "applied\n");
    dlclose(library);
    return sum > 0 ? 0 : 1;
}
