/*
 * The agent's entry in replay, and the code that touches the program's memory; see replay.c. What is said in entry.S of the
 * program's registers and of its stack holds here too. The engine knows the labels, and that nothing in here waits or calls.
 */
#include "answers.h"
#include "ring.h"
#include "leave.h"

	.text

	.macro make_frame site
	mov	%rsp, %gs:REPLAY_SP
	mov	%gs:REPLAY_STACK, %rsp
	pushfq
	pushq	\site
	push	%r9
	push	%r8
	push	%r10
	push	%rdx
	push	%rsi
	push	%rdi
	push	%rax
	plain_flags REPLAY_FRAME_FLAGS
	mov	%rsp, %rdi
	mov	%gs:REPLAY_SELF, %rsi
	.endm

/* Every patched call comes here, with the address of its site's data in rcx. */
	.globl	replay_entry
replay_entry:
	make_frame %rcx
	call	replay_handle
	leave_agent REPLAY_FRAME_SITE, REPLAY_FRAME_FLAGS, REPLAY_FRAME_RAX, REPLAY_FRAME_ARGS

/* Every patched site that reads the time stamp counter comes here, with the address of its data in the block. */
	.globl	replay_counter_entry
replay_counter_entry:
	keep_registers
	make_frame %gs:REPLAY_SITE
	call	replay_count
	leave_agent REPLAY_FRAME_SITE, REPLAY_FRAME_FLAGS, REPLAY_FRAME_RAX, REPLAY_FRAME_ARGS, keeps=1

/* Compares rdx bytes at rdi with the program's at rsi: 0 when they are equal. */
	.globl	replay_differs
	.type	replay_differs, @function
replay_differs:
	mov	%rdx, %rcx
	shr	$3, %rcx
	jz	2f
1:
	.globl	replay_reads_word
replay_reads_word:
	mov	(%rsi), %rax
	cmp	(%rdi), %rax
	jne	replay_failed
	add	$8, %rsi
	add	$8, %rdi
	dec	%rcx
	jnz	1b
2:	and	$7, %edx
	jz	4f
3:
	.globl	replay_reads_byte
replay_reads_byte:
	mov	(%rsi), %al
	cmp	(%rdi), %al
	jne	replay_failed
	inc	%rsi
	inc	%rdi
	dec	%edx
	jnz	3b
4:	xor	%eax, %eax
	ret
	.globl	replay_failed
replay_failed:
	mov	$1, %eax
	ret
	.size	replay_differs, . - replay_differs

/* Writes to each page of the rsi bytes at rdi what is there: 0 when all of them can be written. There is a byte at least. */
	.globl	replay_guarded
	.type	replay_guarded, @function
replay_guarded:
	lea	-1(%rdi, %rsi), %rsi
	or	$0xfff, %rsi
1:
	.globl	replay_tries
replay_tries:
	orb	$0, (%rdi)
	or	$0xfff, %rdi
	inc	%rdi
	cmp	%rsi, %rdi
	jb	1b
	xor	%eax, %eax
	ret
	.size	replay_guarded, . - replay_guarded

/* Copies rdx bytes from rsi to the program's memory at rdi. */
	.globl	replay_copy
	.type	replay_copy, @function
replay_copy:
	mov	%rdx, %rcx
	rep movsb
	ret
	.size	replay_copy, . - replay_copy

	.section .note.GNU-stack, "", @progbits
