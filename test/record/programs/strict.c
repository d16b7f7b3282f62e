/* Strict mode of seccomp, set in both ways: four calls go on, and any other one is the end. */
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int child(int how, int ends, int out)
{
	pid_t pid = fork();
	if (pid == 0) {
		long done = how ? syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL) : prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
		if (done != 0) _exit(9);
		for (int i = 0; i < 100; i++) syscall(SYS_write, out, "x", 1);
		if (ends) syscall(SYS_getpid);
		syscall(SYS_exit, 5);
	}
	int status;
	return waitpid(pid, &status, 0) == pid ? status : -1;
}

int main(void)
{
	int pair[2];
	if (pipe(pair) != 0) return 1;
	for (int how = 0; how < 2; how++) {
		int left = child(how, 0, pair[1]), killed = child(how, 1, pair[1]);
		if (!WIFEXITED(left) || WEXITSTATUS(left) != 5) return 2;
		if (!WIFSIGNALED(killed) || WTERMSIG(killed) != SIGKILL) return 3;
	}
	puts("strict");
	return 0;
}
