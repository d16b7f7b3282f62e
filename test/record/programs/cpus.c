/* Prints everything that tells on which CPUs this program may run, and on which it does, while it chooses them for itself and for another
 * thread. The output is the same with and without a recorder, and in replay. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static sem_t chosen, told;

/* The number of the processor that cpuid tells, below 256 (Intel SDM volume 2, CPUID leaf 1). */
static unsigned processor(void)
{
	unsigned eax, ebx, ecx, edx;

	__cpuid(1, eax, ebx, ecx, edx);
	return ebx >> 24;
}

static void print_mask(const char *how, pid_t tid)
{
	cpu_set_t mask;

	CPU_ZERO(&mask);
	if (sched_getaffinity(tid, sizeof mask, &mask) != 0)
		exit(1);
	printf(" %s", how);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &mask))
			printf(" %d", cpu);
}

static void print_all(const char *what, pid_t tid)
{
	char path[64], line[4096];
	FILE *status;

	printf("%s:", what);
	print_mask("mask", tid);
	if (tid == gettid())
		print_mask("own", 0);
	snprintf(path, sizeof path, "/proc/self/task/%d/status", tid);
	status = fopen(path, "r");
	if (!status)
		exit(1);
	while (fgets(line, sizeof line, status))
		if (strncmp(line, "Cpus_allowed", 12) == 0)
			printf(" %.*s", (int)strcspn(line, "\n"), line);
	fclose(status);
	printf("\n");
}

static void *other(void *tid)
{
	*(pid_t *)tid = gettid();
	sem_post(&told);
	sem_wait(&chosen);
	print_all("other, of itself", gettid());
	printf("other runs on %u\n", processor());
	sem_post(&told);
	sem_wait(&chosen);
	return NULL;
}

static void choose(pid_t tid, const cpu_set_t *mask)
{
	if (sched_setaffinity(tid, sizeof *mask, mask) != 0)
		exit(1);
}

/* Runs this program in a child, which tells where it runs if it is bound. */
static int run(char **argv, int is_bound)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (is_bound)
			printf("child runs on %u\n", processor());
		execl("/proc/self/exe", argv[0], is_bound ? "bound" : "free", (char *)NULL);
		_exit(1);
	}
	return waitpid(pid, &status, 0) == pid ? status : 1;
}

int main(int argc, char **argv)
{
	cpu_set_t all, one;
	pthread_t thread;
	pid_t tid;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1) {
		print_all("executed", getpid());
		if (strcmp(argv[1], "bound") == 0)
			printf("executed runs on %u\n", processor());
		return 0;
	}
	print_all("at first", getpid());
	sched_getaffinity(0, sizeof all, &all);
	sem_init(&chosen, 0, 0);
	sem_init(&told, 0, 0);
	pthread_create(&thread, NULL, other, &tid);
	sem_wait(&told);
	for (int cpu = 0, last = -1; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (last < 0) {
			choose(tid, &one);
			sem_post(&chosen);
			sem_wait(&told);
			print_all("other", tid);
			print_all("self", getpid());
			sem_post(&chosen);
			pthread_join(thread, NULL);
		}
		last = cpu;
		choose(0, &one);
		print_all("bound", getpid());
		printf("bound to %d, runs on %u\n", cpu, processor());
		if (run(argv, 1) != 0)
			return 1;
	}
	choose(getpid(), &all);
	print_all("free again", getpid());
	return run(argv, 0);
}
