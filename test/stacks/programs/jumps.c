/* Calls from functions that were jumped to, nested functions, other stacks, and code of no file. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

static volatile int sink;
static jmp_buf back;

__attribute__((noinline)) static void emit(const char *text) {
    sink = (int)write(1, text, strlen(text));
}

/* Leaves by a jump where the compiler does that. */
__attribute__((noinline)) static void last(const char *text) {
    emit(text);
}

__attribute__((noinline)) static void before_last(const char *text) {
    sink += 1;
    last(text);
}

#ifndef __clang__
/* Passed as a pointer, it is reached through code on the stack. */
__attribute__((noinline)) static void with(void (*function)(void)) {
    function();
    sink += 2;
}

__attribute__((noinline)) static void nesting(const char *text) {
    volatile int count = 0;
    void inner(void) {
        count++;
        emit(text);
    }
    inner();
#ifdef EXECUTABLE_STACK
    with(inner);
#endif
    sink += count;
}
#endif

__attribute__((noinline)) static void far(int depth) {
    if (depth == 0)
        longjmp(back, 1);
    emit("far\n");
    far(depth - 1);
    sink += depth;
}

static ucontext_t outside, inside;
static char room[64 << 10];

static void routine(void) {
    emit("on another stack\n");
    swapcontext(&inside, &outside);
    emit("again\n");
}

static void *call_through(void *code, void (*function)(const char *), const char *text) {
    ((void (*)(void (*)(const char *), const char *))code)(function, text);
    sink += 4;
    return code;
}

/* push %rbp; mov %rsp, %rbp; mov %rdi, %rax; mov %rsi, %rdi; call *%rax; pop %rbp; ret */
static const unsigned char stub[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0xff, 0xd0, 0x5d, 0xc3};

static void generated(void) {
#if defined(__x86_64__) && !defined(NO_STUB)
    void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(code, stub, sizeof stub);
    call_through(code, emit, "generated\n");
    munmap(code, 4096);
#endif
}

int main(void) {
    before_last("tail\n");
#ifndef __clang__
    nesting("nested\n");
#endif
    if (setjmp(back) == 0)
        far(2);
    getcontext(&inside);
    inside.uc_stack.ss_sp = room;
    inside.uc_stack.ss_size = sizeof room;
    inside.uc_link = &outside;
    makecontext(&inside, routine, 0);
    swapcontext(&outside, &inside);
    swapcontext(&outside, &inside);
    generated();
    return 0;
}
