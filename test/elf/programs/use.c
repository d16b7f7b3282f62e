/* Needs libvalue. */
#include <stdio.h>

extern int value(void);

int main(void) {
    printf("%d\n", value());
    return 0;
}
