/* Several threads, and then a child, that do the same with a few files again and again: open, read, write, rename, ask. argv: folder, rounds. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int rounds;

static void *work(void *name)
{
	char path[256], other[300], bytes[100];
	struct stat facts;
	/* A short name, one that is not UTF-8, and one that is long. */
	const char *names[] = { "a", "b\xff", "long-long-long-long-long-long-long-long-long-long-long-long-long-long-long" };

	for (int round = 0; round < rounds; round++) {
		snprintf(path, sizeof path, "./%s-%s", (char *)name, names[round % 3]);
		snprintf(other, sizeof other, "%s.new", path);
		int fd = open(path, O_RDWR | O_CREAT, 0644);
		if (fd < 0 || write(fd, bytes, 10 + round % 3) < 0 || pread(fd, bytes, sizeof bytes, 0) < 0)
			abort();
		int in = open("/proc/self/exe", O_RDONLY);
		if (in < 0 || sendfile(fd, in, NULL, 20) != 20 || fstat(fd, &facts) != 0 || close(in) != 0 || close(fd) != 0)
			abort();
		if (stat("missing", &facts) == 0 || rename(path, other) != 0 || unlink(other) != 0)
			abort();
	}
	return NULL;
}

int main(int argc, char **argv)
{
	/* More than processors, so that some have closed a descriptor and are not back from it while others get its number. */
	char *names[] = { "one", "two", "three", "four", "five", "six" };
	pthread_t threads[6];

	if (argc < 3 || chdir(argv[1]) != 0)
		return 2;
	rounds = atoi(argv[2]);
	for (int i = 0; i < 6; i++)
		pthread_create(&threads[i], NULL, work, names[i]);
	for (int i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	pid_t child = fork();
	if (child == 0) {
		work("child");
		_exit(0);
	}
	int status = 0;
	return waitpid(child, &status, 0) != child || status != 0;
}
