/* Closes itself to other processes, then opens and reads a file. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(void) {
	prctl(PR_SET_DUMPABLE, 0);
	char bytes[16];
	int fd = open("/etc/passwd", O_RDONLY);
	ssize_t got = read(fd, bytes, sizeof bytes);
	printf("%zd\n", got);
	return 0;
}
