/* For LeakSanitizer: it looks for leaks by ptrace when the program ends. */
#include <stdio.h>
#include <stdlib.h>

int main(void) {
	setbuf(stdout, NULL);
	printf("%d\n", malloc(10) != NULL);
	return 0;
}
