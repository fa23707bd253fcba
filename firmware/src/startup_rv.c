/* startup_rv.c: reset and traps of RV32 in machine mode. */
#ifdef __riscv
#include <stdint.h>

#include "td_fault.h"
#include "td_startup.h"

void td_reset(void);
void td_trap(void);

void __attribute__((naked, used, section(".vectors"))) td_reset(void)
{
    __asm volatile(
        "la sp, td_stack_top\n"
        "la t0, td_trap\n"
        "csrw mtvec, t0\n"
        "j td_start\n");
}

static uint32_t read_mcause(void)
{
    uint32_t value;
    __asm volatile("csrr %0, mcause" : "=r"(value));
    return value;
}

static uint32_t read_mepc(void)
{
    uint32_t value;
    __asm volatile("csrr %0, mepc" : "=r"(value));
    return value;
}

static uint32_t read_mtval(void)
{
    uint32_t value;
    __asm volatile("csrr %0, mtval" : "=r"(value));
    return value;
}

/* Nothing here enables interrupts: every trap is a fault, and nothing returns from it. mtvec's two
 * low bits select the mode, hence the alignment. */
void __attribute__((aligned(4), used)) td_trap(void)
{
    uint32_t return_address = (uint32_t)(uintptr_t)__builtin_return_address(0);
    for (;;) {
        td_fault_begin();
        td_fault_register("pc", read_mepc());
        td_fault_register("lr", return_address);
        td_fault_register("mcause", read_mcause());
        td_fault_register("mtval", read_mtval());
        td_fault_end();
        td_fault_wait();
    }
}
#endif
