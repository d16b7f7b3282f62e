/*
 * The agent's entry, its system calls, and the code that copies from the program's memory.
 *
 * The program's registers are all preserved but rcx and r11 at a call, which the syscall instruction changes too: they get what it
 * would have put there. No vector register is touched. The program's stack is neither read nor written: below its pointer
 * there may be something (the red zone), and there may be no room.
 *
 * The engine knows the labels that begin with agent_. When a signal finds a thread between them, it rewrites the thread's
 * registers from what is saved here so that the signal comes before or after the call, as without the agent; so nothing here
 * runs twice on one stack. What the engine takes for granted:
 *  - up to agent_entered and agent_counter_entered the program's registers are all live (but rcx at a call, and rsp, which is in the
 *    block once it is another);
 *  - from there on they are in the frame below the top of the stack, those that a call changes and other sites do not are in the block,
 *    and the phase there tells how far it has come.
 */
#include "ring.h"
#include "leave.h"

	.text

/* Makes the call in a frame (rdi), the only one that the program asked for. */
	.globl	agent_call
	.type	agent_call, @function
agent_call:
	mov	FRAME_RAX(%rdi), %rax
	mov	FRAME_ARGS + 8(%rdi), %rsi
	mov	FRAME_ARGS + 16(%rdi), %rdx
	mov	FRAME_ARGS + 24(%rdi), %r10
	mov	FRAME_ARGS + 32(%rdi), %r8
	mov	FRAME_ARGS + 40(%rdi), %r9
	mov	FRAME_ARGS(%rdi), %rdi
	movl	$PHASE_CALLING, %gs:BLOCK_PHASE
	syscall
	.globl	agent_called
agent_called:
	mov	%rax, %gs:BLOCK_RESULT
	movl	$PHASE_CALLED, %gs:BLOCK_PHASE
	ret
	.size	agent_call, . - agent_call

/* A call of the agent's own: number in rdi, four arguments in rsi, rdx, rcx, r8; one that maps has another in r9, and a sixth that is 0. */
	.globl	agent_own_mapping
	.type	agent_own_mapping, @function
agent_own_mapping:
	.globl	agent_own_call
	.type	agent_own_call, @function
agent_own_call:
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	mov	%r8, %r10
	mov	%r9, %r8
	xor	%r9d, %r9d
own:
	syscall
	.globl	agent_own_called
agent_own_called:
	ret
	.size	agent_own_call, . - agent_own_call

/* Leaves the agent for good, by rt_sigreturn(2) with the context at rdi. */
	.globl	agent_return
	.type	agent_return, @function
agent_return:
	mov	%rdi, %rsp
	mov	$15, %eax
	jmp	own
	.size	agent_return, . - agent_return

/*
 * Calls for the engine, from the table at r15 to r14: number, six arguments, and in the last word the argument that is to be an earlier
 * result, and above the lowest byte how many bytes before this call that one is (-1 for none). The results replace the last words. With
 * the number -1 nothing is called: where the two words at the first argument are not the second and the third, as many bytes of the table
 * are left out as the fourth says. r12 and r13 are process and thread, which stops itself at the end: no signal mask keeps it from that.
 */
	.globl	agent_remote
agent_remote:
1:	mov	56(%r15), %rcx
	test	%rcx, %rcx
	js	2f
	movzbl	%cl, %edx
	shr	$8, %rcx
	mov	%r15, %rax
	sub	%rcx, %rax
	mov	56(%rax), %rax
	mov	%rax, 8(%r15, %rdx, 8)
2:	mov	(%r15), %rax
	mov	8(%r15), %rdi
	mov	16(%r15), %rsi
	mov	24(%r15), %rdx
	mov	32(%r15), %r10
	mov	40(%r15), %r8
	mov	48(%r15), %r9
	test	%rax, %rax
	js	4f
	call	own
	mov	%rax, 56(%r15)
3:	add	$64, %r15
	cmp	%r14, %r15
	jb	1b
	mov	$234, %eax		/* tgkill */
	mov	%r12, %rdi
	mov	%r13, %rsi
	mov	$19, %edx		/* SIGSTOP */
	call	own
	ud2
4:	cmp	%rsi, (%rdi)
	jne	5f
	cmp	%rdx, 8(%rdi)
	je	3b
5:	add	%r10, %r15
	jmp	3b
	.globl	agent_remote_end
agent_remote_end:

	.macro make_frame site
	mov	%rsp, %gs:BLOCK_SP
	mov	%gs:BLOCK_STACK, %rsp
	pushfq
	pushq	\site
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbp
	push	%rbx
	push	%r9
	push	%r8
	push	%r10
	push	%rdx
	push	%rsi
	push	%rdi
	push	%rax
	movl	$PHASE_ENTERED, %gs:BLOCK_PHASE
	.endm

/* Every patched call comes here, with the address of its site's data in rcx. */
	.globl	agent_entry
agent_entry:
	make_frame %rcx
	.globl	agent_entered
agent_entered:
	plain_flags FRAME_FLAGS
	mov	%rsp, %rdi
	mov	%gs:BLOCK_SELF, %rsi
	call	agent_handle
	leave_agent FRAME_SITE, FRAME_FLAGS, FRAME_RAX, FRAME_ARGS

/* Every patched site that reads the time stamp counter comes here, with the address of its data in the block. */
	.globl	agent_counter_entry
agent_counter_entry:
	keep_registers
	make_frame %gs:BLOCK_SITE
	.globl	agent_counter_entered
agent_counter_entered:
	plain_flags FRAME_FLAGS
	mov	%rsp, %rdi
	mov	%gs:BLOCK_SELF, %rsi
	call	agent_count
	leave_agent FRAME_SITE, FRAME_FLAGS, FRAME_RAX, FRAME_ARGS, keeps=1

/* Copies rdx bytes from the program's memory (rsi) to rdi; how many could not be read. */
	.globl	agent_copy
	.type	agent_copy, @function
agent_copy:
	mov	%rdx, %rcx
	.globl	agent_copy_reads
agent_copy_reads:
	rep movsb
	.globl	agent_copy_failed
agent_copy_failed:
	mov	%rcx, %rax
	ret
	.size	agent_copy, . - agent_copy

/*
 * Copies a string with its end from the program's memory (rsi) to rdi, at most rdx bytes. The number of bytes; -1 minus that
 * when the rest cannot be read; more than rdx when it has no end before. Up to 7 bytes behind it may be written.
 */
	.globl	agent_copy_string
	.type	agent_copy_string, @function
agent_copy_string:
	mov	%rdi, %r8
	add	%rdi, %rdx
	mov	$0x0101010101010101, %r9
	mov	%r9, %r10
	shl	$7, %r10
	/* Bytes until the source is aligned; then words, none of which crosses into another page. */
1:	cmp	%rdx, %rdi
	jae	9f
	test	$7, %sil
	jz	3f
	.globl	agent_string_reads
agent_string_reads:
	movzbl	(%rsi), %eax
	mov	%al, (%rdi)
	inc	%rsi
	inc	%rdi
	test	%al, %al
	jnz	1b
	jmp	8f
3:	cmp	%rdx, %rdi
	jae	9f
	.globl	agent_string_reads_word
agent_string_reads_word:
	mov	(%rsi), %rax
	mov	%rax, (%rdi)
	mov	%rax, %rcx
	sub	%r9, %rcx
	not	%rax
	and	%rax, %rcx
	and	%r10, %rcx
	jnz	4f
	add	$8, %rsi
	add	$8, %rdi
	jmp	3b
4:	bsf	%rcx, %rcx
	shr	$3, %ecx
	lea	1(%rdi, %rcx), %rdi
8:	mov	%rdi, %rax
	sub	%r8, %rax
	ret
9:	mov	%rdx, %rax
	sub	%r8, %rax
	inc	%rax
	ret
	.globl	agent_string_failed
agent_string_failed:
	mov	%r8, %rax
	sub	%rdi, %rax
	dec	%rax
	ret
	.size	agent_copy_string, . - agent_copy_string

	.section .note.GNU-stack, "", @progbits
