/* Gives the kernel pointers that lead nowhere. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void show(const char *what, long result) {
	printf("%s %ld %s\n", what, result, result < 0 ? strerror(errno) : "");
}

int main(int argc, char **argv) {
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(page + 4096, 4096);
	memset(page, 'p', 4096);
	void *volatile nowhere = (void *)8;
	show("open", syscall(SYS_open, nowhere, O_RDONLY));
	show("write", write(argc == 2 ? open(argv[1], O_WRONLY | O_CREAT, 0600) : 1, nowhere, 100));
	show("unterminated", syscall(SYS_open, page + 4000, O_RDONLY));
	int file = open("/etc/passwd", O_RDONLY);
	show("read", read(file, nowhere, 100));
	/* Four bytes are there, the rest is not. */
	int ends[2];
	show("pipe", pipe(ends));
	show("partial", write(ends[1], page + 4092, 100));
	struct iovec vector[2] = {{page, 4}, {nowhere, 4}};
	show("writev", writev(ends[1], vector, 2));
	show("iovec", writev(ends[1], nowhere, 2));
	show("execve", execve("/bin/true", nowhere, NULL));
	return 0;
}
