/*
 * Sockets that are told not to wait, and then to wait again: by their thread, by ioctl(2), by another descriptor of the same socket, and
 * by another process. Another thread, which wants the turn, answers what is then waited for. And the clock: asked for between all that, it
 * never goes back, however it is asked.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(what) do { if (!(what)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #what, strerror(errno)); _exit(1); } } while (0)
#define BAD ((void *)16)

enum { ROUNDS = 24, ATTEMPTS = 50 };

static int ends[2], again;

/* Answers each byte, a moment later. */
static void *answers(void *none)
{
	char byte;

	(void)none;
	while (read(ends[1], &byte, 1) == 1) {
		for (volatile int i = 0; i < 20000; i++)
			;
		CHECK(write(ends[1], &byte, 1) == 1);
	}
	return 0;
}

static void set(int fd, int nonblocking)
{
	int flags = fcntl(fd, F_GETFL);

	CHECK(flags >= 0 && fcntl(fd, F_SETFL, nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) == 0);
}

static void set_back(int round)
{
	int off = 0, status;
	pid_t child;

	switch (round % 4) {
	case 0:
		set(ends[0], 0);
		break;
	case 1:
		CHECK(ioctl(ends[0], FIONBIO, &off) == 0);
		break;
	case 2:
		set(again, 0);
		break;
	default:
		child = fork();
		CHECK(child >= 0);
		if (!child) {
			set(ends[0], 0);
			_exit(0);
		}
		CHECK(waitpid(child, &status, 0) == child && status == 0);
	}
}

static void clocks(void)
{
	static struct timespec before;
	struct timespec now, other, two[2];

	for (int i = 0; i < 40; i++) {
		CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
		CHECK(now.tv_sec > before.tv_sec || (now.tv_sec == before.tv_sec && now.tv_nsec >= before.tv_nsec));
		before = now;
		CHECK(clock_gettime(CLOCK_BOOTTIME, &other) == 0);
		getppid();
	}
	CHECK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, BAD) == -1 && errno == EFAULT);
	CHECK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, (char *)two + 4) == 0);
}

int main(void)
{
	pthread_t thread;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && (again = dup(ends[0])) >= 0);
	CHECK(pthread_create(&thread, 0, answers, 0) == 0);
	for (int round = 0; round < ROUNDS; round++) {
		char byte = 'a' + round, told;

		set(ends[0], 1);
		for (int i = 0; i < ATTEMPTS; i++)
			CHECK((i % 2 ? read(ends[0], &told, 1) : recv(ends[0], &told, 1, 0)) == -1 && errno == EAGAIN);
		clocks();
		CHECK(write(ends[0], &byte, 1) == 1);
		set_back(round);
		CHECK(read(ends[0], &told, 1) == 1 && told == byte);
	}
	CHECK(shutdown(ends[0], SHUT_WR) == 0 && pthread_join(thread, 0) == 0);
	puts("done");
	return 0;
}
