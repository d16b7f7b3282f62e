/* Moves the file argv[1] (at least 3 MiB) through every sort of call; argv[2] gets a copy of it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define CHECK(what) do { if (!(what)) { perror(#what); exit(90); } } while (0)

static char buffer[3 << 20], copy[3 << 20];

int main(int argc, char **argv) {
	CHECK(argc == 3);
	int in = open(argv[1], O_RDONLY), out = open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0600);
	ssize_t size = sizeof buffer;
	CHECK(read(in, buffer, sizeof buffer) == size);
	CHECK(write(out, buffer, sizeof buffer) == size);
	CHECK(pread(in, copy, 1000, 5) == 1000);
	CHECK(pwrite(out, copy, 1000, 5) == 1000);
	struct iovec three[3] = {{copy, 10}, {copy + 100, 0}, {copy + 200, 1000}};
	CHECK(preadv(in, three, 3, 0) == 1010);
	CHECK(pwritev(out, three, 3, 0) == 1010);
	lseek(in, -500, SEEK_END);
	/* Less than there is room for: the second buffer is filled in part. */
	struct iovec two[2] = {{copy, 400}, {copy + 1000, 4000}};
	CHECK(readv(in, two, 2) == 500);
	CHECK(writev(out, two, 1) == 400);
	int pair[2];
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
	struct iovec parts[2] = {{"he", 2}, {"llo", 3}}, room[2] = {{copy, 3}, {copy + 10, 10}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2}, answer = {.msg_iov = room, .msg_iovlen = 2};
	CHECK(sendmsg(pair[0], &message, 0) == 5);
	CHECK(recvmsg(pair[1], &answer, 0) == 5);
	struct mmsghdr sent[2] = {{.msg_hdr = {.msg_iov = parts, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = parts + 1, .msg_iovlen = 1}}};
	CHECK(sendmmsg(pair[0], sent, 2, 0) == 2);
	struct mmsghdr got[2] = {{.msg_hdr = {.msg_iov = room, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = room + 1, .msg_iovlen = 1}}};
	CHECK(recvmmsg(pair[1], got, 2, 0, NULL) == 2);
	CHECK(send(pair[0], "sent", 4, 0) == 4);
	CHECK(recv(pair[1], copy, 100, 0) == 4);
	int udp = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t length = sizeof here;
	CHECK(bind(udp, (struct sockaddr *)&here, length) == 0);
	CHECK(getsockname(udp, (struct sockaddr *)&here, &length) == 0);
	CHECK(sendto(udp, "datagram", 8, 0, (struct sockaddr *)&here, length) == 8);
	struct sockaddr_in from = {0};
	CHECK(recvfrom(udp, copy, 100, 0, (struct sockaddr *)&from, &length) == 8);
	CHECK(from.sin_port == here.sin_port);
	return 0;
}
