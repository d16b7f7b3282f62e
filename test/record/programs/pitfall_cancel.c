/* Threads that are cancelled while they wait in a call, before it and behind it; what they clean up is cleaned up. */
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 30 };

static int empty[2], full[2];
static sem_t begun;
static int cleaned;

static void clean(void *unused)
{
	(void)unused;
	cleaned++;
}

static void *reads(void *unused)
{
	char byte;
	(void)unused;
	pthread_cleanup_push(clean, NULL);
	/* Calls that do not wait, from the same place. */
	for (int i = 0; i < 50; i++)
		if (write(full[1], "x", 1) != 1 || read(full[0], &byte, 1) != 1)
			return NULL;
	sem_post(&begun);
	(void)!read(empty[0], &byte, 1);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *sleeps(void *unused)
{
	(void)unused;
	pthread_cleanup_push(clean, NULL);
	sem_post(&begun);
	nanosleep(&(struct timespec){.tv_sec = 1000}, NULL);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *calls(void *unused)
{
	(void)unused;
	pthread_cleanup_push(clean, NULL);
	sem_post(&begun);
	for (;;)
		close(open("/dev/null", O_RDONLY));
	pthread_cleanup_pop(0);
	return NULL;
}

int main(void)
{
	void *(*const kinds[])(void *) = {reads, sleeps, calls};

	if (pipe(empty) != 0 || pipe(full) != 0 || sem_init(&begun, 0, 0) != 0)
		return 1;
	for (int i = 0; i < ROUNDS * 3; i++) {
		pthread_t thread;
		void *result = NULL;
		if (pthread_create(&thread, NULL, kinds[i % 3], NULL) != 0)
			return 1;
		while (sem_wait(&begun) != 0)
			;
		if (i % 2)
			usleep(2000);
		pthread_cancel(thread);
		if (pthread_join(thread, &result) != 0 || result != PTHREAD_CANCELED || cleaned != i + 1)
			return printf("round %d, cleaned %d\n", i, cleaned), 1;
	}
	return 0;
}
