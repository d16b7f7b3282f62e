/* A process in the memory of another one that stops its threads with ptrace(2), looks at their registers, and lets them go on; or ends
 * without ("leaves"). Both tell what they find. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) ((what) ? (void)0 : (dprintf(2, "line %d: %s: %s\n", __LINE__, #what, strerror(errno)), _exit(1)))
enum { MARK = 0x1234567 };
static volatile pid_t main_thread, other_thread;
static volatile int is_done, turns, at_stop;
static int leaves;

static void *calls(void *unused)
{
	other_thread = syscall(SYS_gettid);
	for (;;) {
		long result = SYS_getppid;
		asm volatile("mov %1, %%r14d\n syscall" : "+a"(result) : "i"(MARK) : "rcx", "r11", "r14", "memory");
		turns++;
	}
	return unused;
}

static long fails(long request, pid_t pid, long addr, void *data)
{
	errno = 0;
	return syscall(SYS_ptrace, request, pid, addr, data) == -1 ? errno : 0;
}

static void look_at(pid_t tid)
{
	struct user_regs_struct regs, again;
	char state[16384];
	struct iovec piece = {&again, sizeof(again)}, all = {state, sizeof(state)}, nowhere = {(void *)1, 8};
	int status;
	CHECK(ptrace(PTRACE_ATTACH, tid, 0, 0) == 0);
	CHECK(waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	CHECK(ptrace(PTRACE_GETREGS, tid, 0, &regs) == 0);
	CHECK(ptrace(PTRACE_GETREGSET, tid, 1, &piece) == 0 && piece.iov_len == sizeof(again) && !memcmp(&regs, &again, sizeof(regs)));
	CHECK(ptrace(PTRACE_GETREGSET, tid, 0x202, &all) == 0 && all.iov_len >= 576);
	CHECK(tid == main_thread || regs.r14 == MARK);
	piece.iov_len = 16;
	CHECK(ptrace(PTRACE_GETREGSET, tid, 1, &piece) == 0 && piece.iov_len == 16);
	CHECK(fails(PTRACE_GETREGS, tid, 0, (void *)8) == EFAULT);
	CHECK(fails(PTRACE_GETREGSET, tid, 1, (void *)8) == EFAULT && fails(PTRACE_GETREGSET, tid, 1, &nowhere) == EFAULT);
	CHECK(fails(PTRACE_GETREGSET, tid, 0x7777, &piece) == EINVAL);
	CHECK(fails(PTRACE_ATTACH, tid, 0, NULL) == EPERM);
}

static int inspects(void *unused)
{
	(void)unused;
	int before, moved;
	CHECK(fails(PTRACE_DETACH, other_thread, 0, NULL) == ESRCH);
	look_at(other_thread);
	before = turns;
	usleep(20000);
	moved = turns != before;
	look_at(main_thread);
	dprintf(1, "moved: %d\n", moved);
	at_stop = turns;
	if (leaves) {
		is_done = 1;
		return 0;
	}
	CHECK(ptrace(PTRACE_DETACH, other_thread, 0, 0) == 0 && ptrace(PTRACE_DETACH, main_thread, 0, 0) == 0);
	CHECK(fails(PTRACE_DETACH, main_thread, 0, NULL) == ESRCH);
	while (turns == at_stop)
		usleep(1000);
	is_done = 1;
	return 0;
}

int main(int count, char **words)
{
	static char stack[1 << 17] __attribute__((aligned(16)));
	pthread_t thread;
	int status;
	leaves = count > 1 && !strcmp(words[1], "leaves");
	main_thread = getpid();
	CHECK(pthread_create(&thread, NULL, calls, NULL) == 0);
	while (turns < 100)
		usleep(1000);
	pid_t child = clone(inspects, stack + sizeof(stack), CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_UNTRACED, NULL);
	CHECK(child > 0);
	while (!is_done)
		sched_yield();
	CHECK(waitpid(child, &status, __WALL) == child && status == 0);
	while (turns == at_stop)
		usleep(1000);
	puts("both go on");
	return 0;
}
