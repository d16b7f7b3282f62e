/* Loads a plugin by its path, unloads it, and loads another by its name. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv) {
    for (int k = 1; k < argc; k++) {
        void *plugin = dlopen(argv[k], RTLD_NOW);
        if (plugin == NULL) {
            fprintf(stderr, "%s\n", dlerror());
            return 1;
        }
        int (*value)(void) = (int (*)(void))dlsym(plugin, "value");
        printf("%d\n", value());
        if (k + 1 < argc)
            dlclose(plugin);
    }
    return 0;
}
