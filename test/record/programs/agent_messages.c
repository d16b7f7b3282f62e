/*
 * Messages with all that can be behind them, and sets of descriptors: good ones, and pointers to nothing. Everything is in static memory, so
 * that two recordings have the same addresses (compiled with -no-pie).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define CHECK(what) do { if (!(what)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #what, strerror(errno)); _exit(1); } } while (0)
#define BAD ((void *)16)

enum { BYTES = 64, ROUNDS = 50 };

static char sent[BYTES] = "what is sent, in one piece or in several", got[3][BYTES], control[256], page_end[8192] __attribute__((aligned(4096)));
static struct sockaddr_in own, peer;
static struct iovec out[3], in[3];
static struct msghdr message;
static fd_set reads, writes, odd;
static struct timeval none, soon;
static struct timespec no_time;
static int pair[2], datagrams[2], handled;

static void prepare(void)
{
	for (int i = 0; i < 3; i++) {
		out[i] = (struct iovec){ sent + 7 * i, 7 + i };
		in[i] = (struct iovec){ got[i], 5 };
	}
	memset(got, 0, sizeof got);
	memset(control, 0, sizeof control);
	message = (struct msghdr){ .msg_iov = out, .msg_iovlen = 3 };
}

static void sends_and_receives(void)
{
	prepare();
	CHECK(sendmsg(datagrams[1], &message, 0) == 24);
	message.msg_iov = in;
	CHECK(recvmsg(datagrams[0], &message, MSG_PEEK) == 15 && message.msg_flags == MSG_TRUNC);
	CHECK(recvmsg(datagrams[0], &message, MSG_TRUNC) == 24 && !memcmp(got[2], sent + 10, 5));
	CHECK(recvmsg(datagrams[0], &message, MSG_DONTWAIT) == -1 && errno == EAGAIN);
	/* Without buffers, and without a message. */
	message.msg_iovlen = 0;
	CHECK(sendmsg(datagrams[1], &message, 0) == 0 && recvmsg(datagrams[0], &message, 0) == 0);
	message.msg_iovlen = 1;
	in[0].iov_len = 0;
	CHECK(sendmsg(datagrams[1], &message, 0) == 0 && recvmsg(datagrams[0], &message, 0) == 0);
}

static void names(int to, int from)
{
	prepare();
	message.msg_name = &own;
	message.msg_namelen = sizeof own;
	CHECK(sendmsg(to, &message, MSG_DONTWAIT) == 24);
	CHECK(sendmsg(to, &message, 0) == 24);
	message.msg_iov = in;
	message.msg_name = &peer;
	memset(&peer, 0, sizeof peer);
	CHECK(recvmsg(from, &message, 0) == 15 && message.msg_namelen == sizeof peer && peer.sin_family == AF_INET);
	/* Less room than it has, and data that come along. */
	message.msg_namelen = 6;
	message.msg_control = control;
	message.msg_controllen = sizeof control;
	CHECK(recvmsg(from, &message, 0) == 15 && message.msg_namelen == sizeof peer && message.msg_controllen > 0);
	CHECK(CMSG_FIRSTHDR(&message)->cmsg_type == IP_TTL);
}

static void descriptors_come(void)
{
	struct cmsghdr *head;
	int given = -1;

	for (int room = 0; room < 2; room++) {
		prepare();
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(sizeof(int));
		head = CMSG_FIRSTHDR(&message);
		*head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(head), &datagrams[0], sizeof(int));
		CHECK(sendmsg(pair[1], &message, 0) == 24);
		message.msg_iov = in;
		message.msg_controllen = room ? CMSG_SPACE(sizeof(int)) : 0;
		CHECK(recvmsg(pair[0], &message, 0) == 15 && recv(pair[0], got[0], 9, MSG_WAITALL) == 9);
		if (!room) continue;
		memcpy(&given, CMSG_DATA(head), sizeof(int));
		CHECK(fcntl(given, F_GETFD) == 0 && write(pair[1], "x", 1) == 1);
		FD_ZERO(&reads);
		FD_SET(given, &reads);
		FD_SET(pair[0], &reads);
		CHECK(select(given + 1, &reads, NULL, NULL, &none) == 1 && FD_ISSET(pair[0], &reads));
		CHECK(read(pair[0], got[0], 1) == 1 && close(given) == 0);
	}
}

static void pointers_to_nothing(void)
{
	struct { void *head, *name, *vector, *buffer, *control; } bad[] = {
		{ BAD, 0, 0, 0, 0 }, { 0, BAD, 0, 0, 0 }, { 0, 0, BAD, 0, 0 }, { 0, 0, 0, BAD, 0 }, { 0, 0, 0, 0, BAD }, { page_end + 4096 - 20, 0, 0, 0, 0 },
	};
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		for (int receives = 0; receives < 2; receives++) {
			CHECK(send(datagrams[1], "there is one", 12, 0) == 12);
			prepare();
			if (bad[i].name) message.msg_name = bad[i].name, message.msg_namelen = sizeof own;
			if (bad[i].vector) message.msg_iov = bad[i].vector;
			if (bad[i].buffer) out[1].iov_base = bad[i].buffer;
			if (bad[i].control) message.msg_control = bad[i].control, message.msg_controllen = 64;
			struct msghdr *head = bad[i].head ? bad[i].head : &message;
			long result = receives ? recvmsg(datagrams[0], head, 0) : sendmsg(datagrams[1], head, 0);
			/* A name that nobody has to tell, and data that do not come, are not written. */
			CHECK(receives && (bad[i].name || bad[i].control) ? result == 12 : result == -1 && errno == EFAULT);
			while (recv(datagrams[0], got[0], BYTES, MSG_DONTWAIT) >= 0) {}
		}
	}
	CHECK(sendmsg(-1, &message, 0) == -1 && errno == EBADF && recvmsg(77, &message, 0) == -1 && errno == EBADF);
	message.msg_iovlen = 2000;
	CHECK(sendmsg(datagrams[1], &message, 0) == -1 && errno == EMSGSIZE);
}

static void sets(void)
{
	FD_ZERO(&reads);
	FD_ZERO(&writes);
	FD_ZERO(&odd);
	FD_SET(pair[0], &reads);
	FD_SET(pair[1], &writes);
	CHECK(select(pair[1] + 1, &reads, &writes, &odd, NULL) == 1 && FD_ISSET(pair[1], &writes) && !FD_ISSET(pair[0], &reads));
	CHECK(write(pair[1], "x", 1) == 1);
	FD_SET(pair[0], &reads);
	CHECK(syscall(SYS_select, 200, &reads, NULL, NULL, &none) == 1 && FD_ISSET(pair[0], &reads));
	CHECK(syscall(SYS_pselect6, pair[0] + 1, &reads, NULL, NULL, &no_time, NULL) == 1);
	CHECK(read(pair[0], got[0], 1) == 1);
	soon.tv_usec = 1000;
	CHECK(syscall(SYS_select, pair[0] + 1, &reads, NULL, NULL, &soon) == 0 && soon.tv_usec == 0);
	CHECK(syscall(SYS_select, 0, NULL, NULL, NULL, &none) == 0);
	FD_SET(150, &reads);
	CHECK(syscall(SYS_select, 151, &reads, NULL, NULL, &none) == -1 && errno == EBADF);
	CHECK(syscall(SYS_select, 100, &reads, NULL, NULL, &none) == 0);
	CHECK(syscall(SYS_select, -1, &reads, NULL, NULL, &none) == -1 && errno == EINVAL);
	CHECK(syscall(SYS_select, 10, BAD, NULL, NULL, &none) == -1 && errno == EFAULT);
	CHECK(syscall(SYS_select, 10, NULL, NULL, NULL, BAD) == -1 && errno == EFAULT);
	CHECK(syscall(SYS_select, 10, NULL, page_end + 4096 - 4, NULL, &none) == -1 && errno == EFAULT);
	soon.tv_usec = -1;
	CHECK(syscall(SYS_select, 1, NULL, NULL, NULL, &soon) == -1 && errno == EINVAL);
}

static void on_signal(int number)
{
	(void)number;
	handled++;
}

/* Sends what the other thread waits for, and interrupts it. */
static void *other(void *thread)
{
	char byte;

	for (int i = 0; i < ROUNDS; i++) {
		CHECK(send(datagrams[1], "later", 5, 0) == 5);
		CHECK(recv(pair[1], &byte, 1, 0) == 1);
		CHECK(pthread_kill(*(pthread_t *)thread, SIGUSR1) == 0 && write(pair[1], "y", 1) == 1);
		CHECK(recv(pair[1], &byte, 1, 0) == 1);
	}
	return NULL;
}

/* How often it is interrupted depends on when the signals come. */
static void waits(void)
{
	pthread_t own_thread = pthread_self(), thread;
	char byte;

	CHECK(signal(SIGUSR1, on_signal) != SIG_ERR && pthread_create(&thread, NULL, other, &own_thread) == 0);
	for (int i = 0; i < ROUNDS; i++) {
		prepare();
		message.msg_iov = in;
		while (recvmsg(datagrams[0], &message, 0) != 5) CHECK(errno == EINTR);
		CHECK(send(pair[0], "z", 1, 0) == 1);
		do {
			FD_ZERO(&reads);
			FD_SET(pair[0], &reads);
		} while (select(pair[0] + 1, &reads, NULL, NULL, NULL) != 1);
		CHECK(FD_ISSET(pair[0], &reads) && recv(pair[0], &byte, 1, 0) == 1 && send(pair[0], "z", 1, 0) == 1);
	}
	CHECK(pthread_join(thread, NULL) == 0 && handled <= ROUNDS && handled > 0);
}

int main(int argc, char **argv)
{
	int yes = 1, null = open("/dev/null", O_WRONLY), udp = socket(AF_INET, SOCK_DGRAM, 0);
	socklen_t length = sizeof own;

	/* Descriptors beyond the table of a process are not looked at by select(): there is room for all that are told. */
	CHECK(dup2(null, 255) == 255 && close(255) == 0);
	CHECK(write(null, sent, 1) == 1 && mprotect(page_end + 4096, 4096, PROT_NONE) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, datagrams) == 0);
	own = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	CHECK(udp >= 0 && bind(udp, (struct sockaddr *)&own, length) == 0 && getsockname(udp, (struct sockaddr *)&own, &length) == 0);
	CHECK(setsockopt(udp, IPPROTO_IP, IP_RECVTTL, &yes, sizeof yes) == 0);
	if (argc > 1 && !strcmp(argv[1], "waits")) {
		waits();
		return 0;
	}
	for (int i = 0; i < ROUNDS; i++) {
		sends_and_receives();
		descriptors_come();
		pointers_to_nothing();
		sets();
	}
	for (int i = 0; i < ROUNDS; i++) names(udp, udp);
	return 0;
}
