/* Processes are killed while their threads come to calls that nobody has made before: `agent_killed PROCESSES`. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LENGTH (4096 * 16)

/* Code that calls getpid(2), in as many places as there is room for. */
static void *calls_from_new_places(void *unused)
{
	static const unsigned char code[16] = {0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xc3};
	for (;;) {
		char *at = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (at == MAP_FAILED)
			abort();
		for (int i = 0; i < LENGTH; i += sizeof code)
			memcpy(at + i, code, sizeof code);
		for (int i = 0; i < LENGTH; i += sizeof code)
			for (int time = 0; time < 4; time++)
				((void (*)(void))(at + i))();
	}
	return unused;
}

/* Computes for ever in the first thread, whose end is told last. */
static void run(void)
{
	pthread_t thread;
	for (int i = 0; i < 3; i++)
		pthread_create(&thread, NULL, calls_from_new_places, NULL);
	for (volatile long turn = 0;; turn++)
		;
}

int main(int argc, char **argv)
{
	int processes = argc > 1 ? atoi(argv[1]) : 100;
	for (int i = 0; i < processes; i++) {
		int status, signal = i % 2 ? SIGTERM : SIGKILL;
		pid_t child = fork();
		if (child == 0)
			run();
		usleep(500 + rand() % 4000);
		kill(child, signal);
		if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status) || WTERMSIG(status) != signal)
			return 1;
	}
	return 0;
}
