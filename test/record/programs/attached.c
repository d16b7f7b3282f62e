/* Waits in calls of which a signal ends each, whatever that is, until a line comes in; and does what lines ask for. It tells what calls said. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int ends[2], pair[2], semaphores, empty[2], file = -1;
static pthread_barrier_t turn;

static void tell(const char *name, long result) {
	int why = result < 0 ? errno : 0;
	char line[80];
	int length = snprintf(line, sizeof line, "%s %ld %d\n", name, result, why);
	if (write(1, line, length) != length)
		_exit(90);
}

static long wait_at(int fd, int milliseconds) {
	struct epoll_event event = {.events = EPOLLIN};
	int set = epoll_create1(0);
	if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) != 0)
		_exit(91);
	return epoll_wait(set, &event, 1, milliseconds);
}

static void *waits_for_events(void *unused) {
	tell("epoll", wait_at(ends[0], -1));
	return unused;
}

static void *waits_for_semaphore(void *unused) {
	struct sembuf down = {.sem_op = -1};
	tell("semop", semop(semaphores, &down, 1));
	return unused;
}

static void *waits_for_signal(void *unused) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	tell("sigwait", sigwaitinfo(&set, NULL));
	return unused;
}

static void *waits_for_message(void *unused) {
	struct timeval limit = {.tv_sec = 60};
	char byte;
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	tell("recv", recv(pair[0], &byte, 1, 0));
	return unused;
}

/* Long enough for the recording to end meanwhile. */
static void *waits_for_time(void *unused) {
	tell("timed", 0);
	tell("time", wait_at(empty[0], 1500));
	return unused;
}

static void *opens_another(void *unused) {
	pthread_barrier_wait(&turn);
	close(file);
	file = open("/dev/zero", O_RDONLY);
	pthread_barrier_wait(&turn);
	return unused;
}

/* One thread closes what another one has used, and opens something else under that number. */
static void exchange(void) {
	char byte;
	file = open("/dev/null", O_RDONLY);
	tell("null", read(file, &byte, 1));
	pthread_barrier_wait(&turn);
	pthread_barrier_wait(&turn);
	tell("zero", read(file, &byte, 1));
}

static void handler(int signal) {
	(void)signal;
}

/* As servers do: over all arguments, with zeros behind it. */
static void give_title(char **first, char *last) {
	char *title = *first;
	memset(title, 0, last + strlen(last) - title);
	strcpy(title, "server: idle");
	tell("titled", 0);
}

int main(int argc, char **argv) {
	if (argc > 1) {
		char rest[16];
		give_title(argv, argv[argc - 1]);
		while (read(0, rest, sizeof rest) > 0)
			;
		return 0;
	}
	void *(*bodies[])(void *) = {waits_for_events, waits_for_semaphore, waits_for_signal, waits_for_message};
	pthread_t threads[4], other, timed;
	char line[16];
	/* Without SA_RESTART. */
	struct sigaction action = {.sa_handler = handler};
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGUSR1, &action, NULL);
	semaphores = semget(IPC_PRIVATE, 1, 0600);
	if (pipe(ends) != 0 || pipe(empty) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		return 92;
	pthread_barrier_init(&turn, NULL, 2);
	for (int k = 0; k < 4; k++)
		pthread_create(&threads[k], NULL, bodies[k], NULL);
	pthread_create(&other, NULL, opens_another, NULL);
	for (;;) {
		long length = read(0, line, sizeof line);
		if (length < 0) {
			tell("read", length);
		} else if (length == 0) {
			break;
		} else if (line[0] == 'x') {
			exchange();
			pthread_join(other, NULL);
		} else if (line[0] == 't') {
			pthread_create(&timed, NULL, waits_for_time, NULL);
		}
	}
	pthread_join(timed, NULL);
	struct sembuf up = {.sem_op = 1};
	if (write(ends[1], "x", 1) != 1 || semop(semaphores, &up, 1) != 0 || write(pair[1], "x", 1) != 1 ||
	    kill(getpid(), SIGUSR2) != 0)
		return 93;
	for (int k = 0; k < 4; k++)
		pthread_join(threads[k], NULL);
	semctl(semaphores, 0, IPC_RMID);
	return 0;
}
