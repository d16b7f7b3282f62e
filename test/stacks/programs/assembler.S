/* Functions with tables of their own making: frames that the compiler makes none of. */
        .text
        .globl saving
        .type saving, @function
saving: .cfi_startproc
        push %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        mov %rsp, %rbx
        .cfi_def_cfa_register rbx
        sub $1000, %rsp
        and $-64, %rsp
        call *%rdi
        mov %rbx, %rsp
        .cfi_def_cfa_register rsp
        pop %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbx
        ret
        .cfi_endproc
        .size saving, . - saving

        .globl expressed
        .type expressed, @function
/* The frame is found through memory: DW_CFA_def_cfa_expression, DW_OP_breg7 8, DW_OP_deref. */
expressed:
        .cfi_startproc
        lea 8(%rsp), %rax
        sub $24, %rsp
        .cfi_adjust_cfa_offset 24
        mov %rax, 8(%rsp)
        .cfi_escape 0x0f, 0x03, 0x77, 0x08, 0x06
        call *%rdi
        .cfi_def_cfa rsp, 32
        add $24, %rsp
        .cfi_adjust_cfa_offset -24
        ret
        .cfi_endproc
        .size expressed, . - expressed

        .globl untold
        .type untold, @function
/* Nothing is told of it; it has a frame pointer. */
untold: push %rbp
        mov %rsp, %rbp
        call *%rdi
        pop %rbp
        ret
        .size untold, . - untold
        .section .note.GNU-stack, "", @progbits
