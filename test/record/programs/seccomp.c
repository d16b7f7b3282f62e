/* Installs a filter that answers getppid by argv[1] (errno, trap, kill_thread, kill_process, log), then calls it. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void trapped(int signal, siginfo_t *info, void *context) {
	(void)signal;
	(void)context;
	printf("SIGSYS for call %d\n", info->si_syscall);
	exit(21);
}

int main(int argc, char **argv) {
	const char *what = argc > 1 ? argv[1] : "";
	unsigned action = !strcmp(what, "errno")          ? SECCOMP_RET_ERRNO | ENOTTY
			  : !strcmp(what, "trap")         ? SECCOMP_RET_TRAP
			  : !strcmp(what, "kill_thread")  ? SECCOMP_RET_KILL_THREAD
			  : !strcmp(what, "kill_process") ? SECCOMP_RET_KILL_PROCESS
							  : SECCOMP_RET_LOG;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
	struct sigaction handler = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
	sigaction(SIGSYS, &handler, NULL);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		return 99;
	long result = syscall(SYS_getppid);
	printf("getppid %s, %s\n", result > 0 ? "works" : "fails", result > 0 ? "" : strerror(errno));
	return 20;
}
