/*
 * SIGSYS blocked, ignored and handled while calls are made; filters of the program's own which refuse, trap and kill, each in a
 * child; and a program that has the kernel hand its own calls back to it (PR_SET_SYSCALL_USER_DISPATCH).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define CHECK(what) ((what) ? (void)0 : (fprintf(stderr, "line %d: %s\n", __LINE__, #what), _exit(99)))

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF 0
#define PR_SYS_DISPATCH_ON 1
#endif

static volatile int handled;
static volatile char selector;

static long raw(long number)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number) : "rcx", "r11", "memory");
	return result;
}

static void many(void)
{
	for (int i = 0; i < 100; i++)
		CHECK(syscall(SYS_getppid) > 0 && raw(SYS_getpid) > 0);
}

static void on_sigsys(int signal, siginfo_t *info, void *context)
{
	ucontext_t *user = context;
	CHECK(signal == SIGSYS && info->si_syscall == SYS_getppid);
	handled++;
	user->uc_mcontext.gregs[REG_RAX] = 4242;
}

static void on_dispatch(int signal, siginfo_t *info, void *context)
{
	ucontext_t *user = context;
	selector = 0;
	CHECK(signal == SIGSYS && info->si_syscall == SYS_getppid && info->si_code == 2);
	handled++;
	user->uc_mcontext.gregs[REG_RAX] = 4343;
}

static void filter(unsigned action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = 4, .filter = code};
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* How a child ends that does `what`. */
static int child(void (*what)(void))
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		what();
		_exit(0);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	return status;
}

static void refused(void)
{
	filter(SECCOMP_RET_ERRNO | 42);
	for (int i = 0; i < 100; i++)
		CHECK(raw(SYS_getppid) == -42 && raw(SYS_getpid) == getpid());
}

static void trapped(void)
{
	struct sigaction action = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};
	CHECK(sigaction(SIGSYS, &action, NULL) == 0);
	filter(SECCOMP_RET_TRAP);
	for (int i = 0; i < 100; i++)
		CHECK(raw(SYS_getppid) == 4242 && raw(SYS_getpid) == getpid());
	CHECK(handled == 100);
}

static void killed(void)
{
	filter(SECCOMP_RET_KILL_PROCESS);
	raw(SYS_getppid);
}

static void dispatched(void)
{
	struct sigaction action = {.sa_sigaction = on_dispatch, .sa_flags = SA_SIGINFO};
	CHECK(sigaction(SIGSYS, &action, NULL) == 0);
	if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, &selector) != 0) {
		CHECK(errno == EINVAL);
		return;
	}
	for (int i = 0; i < 100; i++) {
		selector = 1;
		CHECK(raw(SYS_getppid) == 4343 && selector == 0);
		CHECK(raw(SYS_getppid) == getppid());
	}
	CHECK(handled == 100);
}

int main(void)
{
	sigset_t all;

	many();
	CHECK(signal(SIGSYS, SIG_IGN) != SIG_ERR);
	many();
	sigfillset(&all);
	CHECK(sigprocmask(SIG_BLOCK, &all, NULL) == 0);
	many();
	CHECK(sigprocmask(SIG_UNBLOCK, &all, NULL) == 0 && signal(SIGSYS, SIG_DFL) == SIG_IGN);
	CHECK(child(refused) == 0);
	CHECK(child(trapped) == 0);
	int status = child(killed);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	CHECK(child(dispatched) == 0);
	many();
	return 0;
}
