/* Threads, forks, vforks and spawns at once, each of whose calls is counted: `agent_tasks THREADS CALLS`. */
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static long calls, bad;

static void *many(void *unused)
{
	char byte;
	(void)unused;
	for (long i = 0; i < calls; i++) {
		int fd = open("/dev/zero", O_RDONLY);
		if (fd < 0 || read(fd, &byte, 1) != 1 || close(fd) != 0 || syscall(SYS_getppid) <= 0)
			__atomic_add_fetch(&bad, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static int reap(pid_t pid)
{
	int status = -1;
	return pid <= 0 || waitpid(pid, &status, 0) != pid || status != 0;
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 4;
	pthread_t *threads = calloc(count, sizeof(*threads));
	char *words[] = {"true", NULL};

	calls = argc > 2 ? atol(argv[2]) : 100;
	for (int i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, many, NULL) != 0)
			return 1;
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			many(NULL);
			_exit(bad != 0);
		}
		bad += reap(pid);
		pid = vfork();
		if (pid == 0) {
			close(open("/dev/null", O_RDONLY));
			execl("/bin/true", "true", NULL);
			_exit(1);
		}
		bad += reap(pid);
		if (posix_spawn(&pid, "/bin/true", NULL, NULL, words, environ) != 0)
			return 1;
		bad += reap(pid);
	}
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	return bad != 0;
}
