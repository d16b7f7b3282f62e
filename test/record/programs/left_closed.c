/*
 * `left_closed strict|undumpable FILE`: leaves a child running that nobody may look into, or that may only read, write and end.
 * It makes a number of calls, and writes "end" when all has gone well.
 */
#include <fcntl.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 3)
		return 1;
	int strict = strcmp(argv[1], "strict") == 0, fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0644);
	for (int i = 0; i < 1000; i++)
		syscall(SYS_getppid);
	if (fd < 0 || fork() != 0)
		return fd < 0;
	if (strict ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0 : prctl(PR_SET_DUMPABLE, 0) != 0)
		return 2;
	for (int i = 0; i < 20; i++) {
		if (write(fd, "x", 1) != 1)
			break;
		if (strict)
			for (volatile long turns = 0; turns < 50000000; turns++)
				;
		else
			usleep(100000);
	}
	if (strict || prctl(PR_GET_DUMPABLE) == 0)
		(void)!write(fd, "end", 3);
	syscall(SYS_exit, 0);
}
