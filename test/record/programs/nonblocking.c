/* Says of each standard stream whether it blocks. */
#include <fcntl.h>
#include <stdio.h>

int main(void) {
	for (int fd = 0; fd < 3; fd++)
		printf("%d %s\n", fd, fcntl(fd, F_GETFL) & O_NONBLOCK ? "does not block" : "blocks");
	return 0;
}
