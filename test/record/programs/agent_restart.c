/*
 * A thread that was there before the agent waits in a call while another one has the agent brought in, and its calls patched.
 * Then a signal interrupts the call, and its handler makes a call at the same place, before the first is made again.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int ends[2];
static volatile int handled, waits;

static void handle(int signal)
{
	(void)signal;
	if (getppid() > 0)
		handled++;
}

static void *wait_for_byte(void *unused)
{
	char byte = 0;

	(void)unused;
	waits = syscall(SYS_gettid);
	return (void *)(read(ends[0], &byte, 1) == 1 && byte == 'x' ? (void *)0 : (void *)1);
}

/* Whether a thread sleeps in a call, proc_pid_stat(5). */
static int sleeps(int tid)
{
	char name[64], stat[512] = "", *state;
	int fd;

	snprintf(name, sizeof name, "/proc/self/task/%d/stat", tid);
	fd = open(name, O_RDONLY);
	if (fd < 0 || pread(fd, stat, sizeof stat - 1, 0) < 0)
		return 0;
	close(fd);
	state = strrchr(stat, ')');
	return state && state[1] == ' ' && state[2] == 'S';
}

int main(void)
{
	struct sigaction action = { .sa_handler = handle, .sa_flags = SA_RESTART };
	pthread_t thread;
	void *failed;

	if (pipe(ends) || sigaction(SIGUSR1, &action, 0) || pthread_create(&thread, 0, wait_for_byte, 0))
		return 2;
	while (!waits)
		;
	while (!sleeps(waits))
		usleep(1000);
	for (int i = 0; i < 200; i++)
		getppid();
	for (int sent = 1; sent <= 3; sent++) {
		if (pthread_kill(thread, SIGUSR1))
			return 3;
		while (handled < sent)
			usleep(1000);
		while (!sleeps(waits))
			usleep(1000);
	}
	if (write(ends[1], "x", 1) != 1 || pthread_join(thread, &failed))
		return 5;
	return failed ? 6 : 0;
}
