/* Waits for a fifth of a second in each call that says for how long, while signals come that nothing is done about: none may take longer. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT_MS = 200, LONGER_MS = 350 };

static const struct timespec limit = {.tv_nsec = LIMIT_MS * 1000000};
static int set, semaphores, pair[2], listening;
static char bytes[1 << 16];
static struct iovec vector = {bytes, sizeof(bytes)};
static struct mmsghdr message = {.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}};

static double now(void) {
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static long wait_in(int way) {
	struct epoll_event event;
	struct sembuf takes = {.sem_op = -1};
	sigset_t signals;
	switch (way) {
	case 0: return epoll_wait(set, &event, 1, LIMIT_MS);
	case 1: return epoll_pwait(set, &event, 1, LIMIT_MS, NULL);
	case 2: return epoll_pwait2(set, &event, 1, &limit, NULL);
	case 3: return semtimedop(semaphores, &takes, 1, &limit);
	case 4:
		sigemptyset(&signals);
		sigaddset(&signals, SIGUSR1);
		return sigtimedwait(&signals, NULL, &limit);
	case 5: return recv(pair[0], bytes, sizeof(bytes), 0);
	case 6: return read(pair[0], bytes, sizeof(bytes));
	case 7: return recvmsg(pair[0], &message.msg_hdr, 0);
	case 8: return recvmmsg(pair[0], &message, 1, 0, NULL);
	case 9: return accept(listening, NULL, NULL);
	case 10: return send(pair[0], bytes, sizeof(bytes), 0);
	case 11: return writev(pair[0], &vector, 1);
	default: return nanosleep(&limit, NULL);
	}
}

int main(void) {
	static const char *const names[] = {"epoll_wait", "epoll_pwait", "epoll_pwait2", "semtimedop", "sigtimedwait", "recv", "read",
		"recvmsg", "recvmmsg", "accept", "send", "writev", "nanosleep"};
	struct timeval time = {.tv_usec = LIMIT_MS * 1000};
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	set = epoll_create1(0);
	semaphores = semget(IPC_PRIVATE, 1, 0600);
	listening = socket(AF_INET, SOCK_STREAM, 0);
	if (semaphores < 0 || listen(listening, 1) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		return 1;
	setsockopt(listening, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
	setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
	while (send(pair[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	pid_t own = getpid();
	for (int way = 0; way < (int)(sizeof(names) / sizeof(*names)); way++) {
		pid_t child = fork();
		if (child == 0) {
			for (int k = 0; k < 3; k++) {
				usleep(60000);
				kill(own, SIGWINCH);
			}
			_exit(0);
		}
		double began = now();
		errno = 0;
		long result = wait_in(way);
		int error = errno;
		double took = now() - began;
		waitpid(child, NULL, 0);
		const char *as = took < LIMIT_MS - 1 ? "too short" : took > LONGER_MS ? "too long" : "in time";
		printf("%s %ld %s, %s\n", names[way], result, error == 0 ? "-" : strerrorname_np(error), as);
	}
	semctl(semaphores, 0, IPC_RMID);
	return 0;
}
