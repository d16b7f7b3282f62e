/*
 * Sockets and other descriptors of no file, made again and again: names with too little room, and with more than there is; pointers to
 * nothing; options and a filter among them. In the directory that is given; everything is in static memory, so that two recordings have
 * the same addresses (compiled with -no-pie).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#define CHECK(what) do { if (!(what)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #what, strerror(errno)); _exit(1); } } while (0)
#define BAD ((void *)16)

enum { ROUNDS = 60 };

static struct sockaddr_un name = { AF_UNIX, "server" }, own = { AF_UNIX, "client" }, told;
static char bytes[64], page_end[8192] __attribute__((aligned(4096)));
static socklen_t length;
static int value;

static const socklen_t NAMED = offsetof(struct sockaddr_un, sun_path) + 7;

static void names(int fd, int (*of)(int, struct sockaddr *, socklen_t *), const char *expected)
{
	static const socklen_t rooms[] = { sizeof told, NAMED, 5, 2, 0 };

	for (unsigned i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
		length = rooms[i];
		memset(&told, 0, sizeof told);
		CHECK(of(fd, (struct sockaddr *)&told, &length) == 0 && length == NAMED);
		CHECK(rooms[i] < NAMED || !strcmp(told.sun_path, expected));
	}
	length = -1;
	CHECK(of(fd, (struct sockaddr *)&told, &length) == -1 && errno == EINVAL);
	length = sizeof told;
	CHECK(of(fd, BAD, &length) == -1 && errno == EFAULT);
	CHECK(of(fd, (struct sockaddr *)&told, BAD) == -1 && errno == EFAULT);
	CHECK(of(fd, (struct sockaddr *)(page_end + 4096 - 4), &length) == -1 && errno == EFAULT);
	CHECK(of(-1, (struct sockaddr *)&told, &length) == -1 && errno == EBADF);
}

static void options(int fd)
{
	static struct sock_filter code[] = { BPF_STMT(BPF_RET | BPF_K, 4096) };
	static struct sock_fprog filter = { 1, code };

	value = 1;
	CHECK(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value) == 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, BAD, sizeof value) == -1 && errno == EFAULT);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, 1) == -1 && errno == EINVAL);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &value, sizeof value) == 0);
	length = 2;
	CHECK(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &length) == 0 && length == 2);
	length = sizeof bytes;
	CHECK(getsockopt(fd, SOL_SOCKET, SO_TYPE, bytes, &length) == 0 && length == sizeof value);
	CHECK(getsockopt(fd, SOL_SOCKET, SO_TYPE, BAD, &length) == -1 && errno == EFAULT);
	CHECK(getsockopt(fd, SOL_SOCKET, SO_TYPE, bytes, NULL) == -1 && errno == EFAULT);
}

static void connects(int server, int round)
{
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), accepted;

	CHECK(client >= 0 && bind(client, (struct sockaddr *)&own, NAMED) == 0);
	CHECK(connect(client, (struct sockaddr *)&name, NAMED) == 0);
	length = round % 3 ? sizeof told : 4;
	memset(&told, 0, sizeof told);
	switch (round % 4) {
	case 0:
		accepted = accept(server, (struct sockaddr *)&told, &length);
		break;
	case 1:
		accepted = accept4(server, (struct sockaddr *)&told, &length, SOCK_NONBLOCK);
		break;
	case 2:
		accepted = accept4(server, NULL, NULL, SOCK_CLOEXEC);
		break;
	default:
		accepted = accept(server, NULL, &length);
		break;
	}
	CHECK(accepted >= 0 && (round % 4 > 1 || length == NAMED));
	names(accepted, getsockname, "server");
	names(client, getsockname, "client");
	names(client, getpeername, "server");
	options(accepted);
	CHECK(write(client, "hello", 5) == 5);
	length = sizeof told;
	CHECK(recvfrom(accepted, bytes, sizeof bytes, 0, (struct sockaddr *)&told, &length) == 5 && !memcmp(bytes, "hello", 5));
	CHECK(accept4(accepted, NULL, NULL, 0) == -1 && errno == EINVAL);
	CHECK(close(client) == 0 && read(accepted, bytes, 1) == 0 && close(accepted) == 0 && unlink("client") == 0);
}

static int nonblocking(int *ends)
{
	return pipe2(ends, O_NONBLOCK | O_CLOEXEC);
}

static int sockets(int *ends)
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends);
}

static void others(void)
{
	int made[] = { eventfd(3, EFD_NONBLOCK), epoll_create1(EPOLL_CLOEXEC), timerfd_create(CLOCK_MONOTONIC, 0), inotify_init1(IN_NONBLOCK),
		       syscall(SYS_eventfd, 1), syscall(SYS_epoll_create, 1), syscall(SYS_inotify_init) };
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 7 }, got;

	CHECK(epoll_ctl(made[1], EPOLL_CTL_ADD, made[0], &event) == 0 && epoll_wait(made[1], &got, 1, -1) == 1 && got.data.u64 == 7);
	CHECK(read(made[0], bytes, 8) == 8 && bytes[0] == 3 && epoll_wait(made[1], &got, 1, 0) == 0);
	CHECK(read(made[4], bytes, 8) == 8 && bytes[0] == 1);
	for (unsigned i = 0; i < sizeof made / sizeof made[0]; i++)
		CHECK(made[i] >= 0 && close(made[i]) == 0);
	CHECK(eventfd(0, 0x100000) == -1 && errno == EINVAL && socket(-1, SOCK_STREAM, 0) == -1);
}

static void pairs(void)
{
	static int ends[2];
	static int (*const makers[])(int *) = { pipe, nonblocking, sockets };

	for (unsigned i = 0; i < sizeof makers / sizeof makers[0]; i++) {
		CHECK(makers[i](ends) == 0 && write(ends[1], "through", 7) == 7 && read(ends[0], bytes, sizeof bytes) == 7);
		CHECK(makers[i](BAD) == -1 && errno == EFAULT);
		CHECK(close(ends[1]) == 0 && read(ends[0], bytes, 1) == 0 && close(ends[0]) == 0);
	}
	CHECK(pipe2(ends, 0x1000000) == -1 && errno == EINVAL);
}

int main(int argc, char **argv)
{
	int null, server;

	CHECK(argc == 2 && chdir(argv[1]) == 0);
	unlink("server");
	null = open("/dev/null", O_WRONLY);
	CHECK(write(null, "x", 1) == 1 && mprotect(page_end + 4096, 4096, PROT_NONE) == 0);
	server = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(server >= 0 && bind(server, (struct sockaddr *)&name, NAMED) == 0 && listen(server, 5) == 0);
	for (int round = 0; round < ROUNDS; round++) {
		connects(server, round);
		others();
		pairs();
	}
	return 0;
}
