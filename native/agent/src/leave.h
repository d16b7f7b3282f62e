/*
 * What C is compiled to takes for granted of the flags: no direction, and no alignment check, with which words have to be at multiples of
 * their size. The program's own are in the frame at the stack pointer.
 */
	.macro plain_flags flags
	cld
	testb	$0x4, \flags + 2(%rsp)
	jz	6f
	pushfq
	andl	$~0x40000, (%rsp)
	popfq
6:
	.endm

/* A site that changes neither rcx nor r11 has come here: they are kept, before anything else is changed. */
	.macro keep_registers
	mov	%rcx, %gs:BLOCK_RCX
	mov	%r11, %gs:BLOCK_R11
	.endm

/*
 * How the agent goes back to the program: to behind its site, or, when eax is not 0, to where what stood there is done with the program's
 * own registers. The frame is at the stack pointer; its members are given, and the block is the same in recording and replay. `keeps`: a
 * site that changes neither rcx nor r11, which are in the block.
 */
	.macro leave_agent site, flags, rax, args, keeps=0
	mov	\site(%rsp), %rdx
	mov	SITE_AFTER(%rdx), %rcx
	test	%eax, %eax
	cmovnz	SITE_TRAP(%rdx), %rcx
	add	%rdx, %rcx
	mov	%rcx, %gs:BLOCK_LEAVE
	/* The flags: with sahf, unless there is one of DF, TF, NT and AC among them. */
	mov	\flags(%rsp), %r11
	test	$0x44500, %r11d
	jnz	4f
	mov	%r11d, %eax
	mov	%r11d, %ecx
	shr	$11, %eax
	and	$1, %eax
	mov	%cl, %ah
	add	$0x7f, %al
	sahf
3:
	.if	\keeps
	mov	%gs:BLOCK_RCX, %rcx
	mov	%gs:BLOCK_R11, %r11
	.else
	mov	SITE_IP(%rdx), %rcx
	lea	(%rcx, %rdx), %rcx	/* changes no flag */
	.endif
	mov	\rax(%rsp), %rax
	mov	\args(%rsp), %rdi
	mov	\args + 8(%rsp), %rsi
	mov	\args + 16(%rsp), %rdx
	mov	\args + 24(%rsp), %r10
	mov	\args + 32(%rsp), %r8
	mov	\args + 40(%rsp), %r9
	mov	%gs:BLOCK_SP, %rsp
	jmp	*%gs:BLOCK_LEAVE
4:	push	%r11
	popfq
	jmp	3b
	.endm
