/* Calls from handlers: on a stack of their own, inside each other, after a fault, and with all arguments. */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile int sink;
static char *page;

__attribute__((noinline)) static void emit(const char *text) {
    sink = (int)write(1, text, strlen(text));
}

static void inner(int signal) {
    emit("inner\n");
    sink = signal;
}

static void outer(int signal, siginfo_t *info, void *context) {
    emit("outer\n");
    kill(getpid(), SIGUSR2);
    sink = signal + info->si_code + (context != NULL);
}

static void fault(int signal, siginfo_t *info, void *context) {
    emit("fault\n");
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
    sink = signal + (info->si_addr == page) + (context != NULL);
}

__attribute__((noinline)) static void store(char *place) {
    *place = 1;
    sink = *place;
}

static void handle(int signal, void (*function)(int, siginfo_t *, void *), int flags) {
    struct sigaction action = {.sa_sigaction = function, .sa_flags = SA_SIGINFO | flags};
    sigaction(signal, &action, NULL);
}

int main(void) {
    static char room[32 << 10];
    stack_t own = {.ss_sp = room, .ss_size = sizeof room};
    sigaltstack(&own, NULL);
    handle(SIGUSR1, outer, SA_ONSTACK);
    signal(SIGUSR2, inner);
    handle(SIGSEGV, fault, 0);
    raise(SIGUSR1);
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    store(page);
    sigset_t mask, waited;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    raise(SIGUSR2);
    sigpending(&waited);
    sigprocmask(SIG_UNBLOCK, &mask, NULL);
    return 0;
}
