/*
 * Forks again and again; what the children do their parent never does. They give free and used numbers to descriptors, and map a file to be
 * read by all, of which they find the content.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) ((condition) ? (void)0 : (dprintf(2, "line %d: %s: %m\n", __LINE__, #condition), _exit(1)))

enum { LENGTH = 3 * 4096 + 17 };

static int child(const char *path, int number)
{
	int file = open(path, O_RDONLY), other = open("/dev/null", O_RDWR), both[2];
	char *mapped, byte = 'a' + number % 26;

	CHECK(file >= 0 && other >= 0);
	/* Nought where its leader is outside of this namespace of processes. */
	CHECK(getsid(0) == getsid(getppid()) && getpgid(0) == getpgid(getppid()));
	/* A free number, one that is open, one of its own, and one that is none. */
	CHECK(dup2(file, 50) == 50 && dup2(other, 50) == 50 && write(50, "x", 1) == 1);
	CHECK(dup2(other, other) == other && dup3(file, 51, O_CLOEXEC) == 51);
	CHECK(dup2(60, 61) == -1 && errno == EBADF && dup2(other, -1) == -1 && errno == EBADF);
	CHECK(dup2(other, 1 << 30) == -1 && errno == EBADF);
	CHECK(pipe(both) == 0 && dup2(both[1], 52) == 52 && close(both[1]) == 0);
	CHECK(write(52, &byte, 1) == 1 && dup2(other, 52) == 52 && read(both[0], &byte, 1) == 1 && read(both[0], &byte, 1) == 0);
	mapped = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, 51, 0);
	CHECK(mapped != MAP_FAILED);
	for (int at = 0; at < LENGTH; at += 1021)
		CHECK(mapped[at] == (char)(at * 7));
	CHECK(mapped[LENGTH] == 0);
	CHECK(mprotect(mapped, LENGTH, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
	CHECK(munmap(mapped, LENGTH) == 0);
	return 0;
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[2]) : 40, file, status;
	static char content[LENGTH];

	/* Whoever starts it may have left any open. */
	CHECK(close_range(3, ~0U, 0) == 0);
	file = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	for (int at = 0; at < LENGTH; at++)
		content[at] = (char)(at * 7);
	CHECK(write(file, content, LENGTH) == LENGTH && close(file) == 0);
	/* So long ago that its state tells its content. */
	CHECK(futimens(open(argv[1], O_RDONLY), (struct timespec[]){ { 1000000000, 0 }, { 1000000000, 0 } }) == 0);
	for (int i = 0; i < rounds; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(child(argv[1], i));
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
	puts("all the same");
	return 0;
}
