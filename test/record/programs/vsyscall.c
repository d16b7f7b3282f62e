/* Calls time at its fixed address in the vsyscall page between writes, where the kernel offers it; says how often. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[300];
	int offered = 0;
	while (maps != NULL && fgets(line, sizeof line, maps)) offered |= strstr(line, "[vsyscall]") != NULL;
	time_t (*seconds)(time_t *) = (void *)0xffffffffff600400;
	for (int i = 0; offered && i < 10; i++) {
		if (seconds(NULL) < 1000000000) return 1;
		if (write(1, "call\n", 5) != 5) return 2;
	}
	return 0;
}
