/* Bad pointers where their signal is ignored, or blocked; and that signal sent by somebody. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
	(void)number;
	caught++;
}

/* What is to be done about the signal of a bad pointer, and whether it is blocked, stays as it was. */
static int keeps_signals(int number)
{
	struct sigaction ways[] = {{.sa_handler = SIG_IGN}, {.sa_handler = on_signal, .sa_flags = SA_RESTART}}, now;
	sigset_t one, mask;

	sigemptyset(&one);
	sigaddset(&one, number);
	for (int way = 0; way < 2; way++) {
		sigaction(number, &ways[way], NULL);
		/* Only a handler shows that the signal was blocked. */
		sigprocmask(way == 1 ? SIG_BLOCK : SIG_UNBLOCK, &one, NULL);
		for (int turn = 0; turn < 20; turn++) {
			if (access((char *)16, F_OK) != -1 || errno != EFAULT)
				return puts("access"), 1;
			sigaction(number, NULL, &now);
			sigprocmask(SIG_BLOCK, NULL, &mask);
			if (now.sa_handler != ways[way].sa_handler || (now.sa_flags & SA_RESTART) != (way == 1 ? SA_RESTART : 0))
				return printf("way %d: another handler\n", way), 1;
			if (sigismember(&mask, number) != way)
				return printf("way %d: %s\n", way, way == 1 ? "not blocked" : "blocked"), 1;
		}
	}
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	return 0;
}

static pthread_t writer;

/* One signal after the other, each when the last one was handled. */
static void *send(void *missing)
{
	for (int sent = 1; sent <= 300; sent++) {
		pthread_kill(writer, SIGSEGV);
		for (int turn = 0; caught < sent; turn++) {
			if (turn == 3000) {
				*(int *)missing = sent;
				return NULL;
			}
			usleep(turn < 100 ? 10 : 1000);
		}
	}
	*(int *)missing = 0;
	return NULL;
}

/* A signal that was sent is no fault, wherever it comes. */
static int gets_signals(int null)
{
	static char bytes[32768];
	volatile int missing = -1;
	pthread_t sender;

	caught = 0;
	writer = pthread_self();
	pthread_create(&sender, NULL, send, (void *)&missing);
	while (missing < 0)
		if (write(null, bytes, sizeof(bytes)) != sizeof(bytes))
			return puts("write"), 1;
	pthread_join(sender, NULL);
	if (missing > 0)
		printf("signal %d was lost\n", missing);
	return missing;
}

int main(void)
{
	return keeps_signals(SIGSEGV) || gets_signals(open("/dev/null", O_WRONLY));
}
