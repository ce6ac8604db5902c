/* llama_decode(ctx, llama_batch by value) and llama_encode likewise: tell moescope, then jump to the real function with
   registers and stack as they came. The System V ABI passes the batch on the stack, right above the return address;
   AArch64 passes a pointer to it in x1. */

#if defined(__x86_64__)

.macro trampoline name enter
    .globl \name
    .type \name, @function
\name:
    .cfi_startproc
    endbr64
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    leaq 16(%rsp), %rsi          /* the batch */
    movq 8(%rsp), %rdx           /* the return address: who calls */
    call \enter
    popq %rdi
    .cfi_adjust_cfa_offset -8
    jmp *%rax
    .cfi_endproc
    .size \name, . - \name
.endm

#elif defined(__aarch64__)

.macro trampoline name enter
    .globl \name
    .type \name, %function
\name:
    .cfi_startproc
    stp x29, x30, [sp, #-32]!
    .cfi_adjust_cfa_offset 32
    stp x0, x1, [sp, #16]
    mov x2, x30
    bl \enter
    mov x16, x0
    ldp x0, x1, [sp, #16]
    ldp x29, x30, [sp], #32
    .cfi_adjust_cfa_offset -32
    br x16
    .cfi_endproc
    .size \name, . - \name
.endm

#else
#error "llama_decode's calling convention is not known for this processor: see trampoline.S"
#endif

    .text
    trampoline llama_decode moescope_enter_decode
    trampoline llama_encode moescope_enter_encode

    .section .note.GNU-stack,"",%progbits
