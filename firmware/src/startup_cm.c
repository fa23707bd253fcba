/* startup_cm.c: reset and faults of Cortex-M (Armv6-M to Armv8.1-M, with the FPU and Helium). */
#ifdef __arm__
#include <stdint.h>

#include "td_fault.h"
#include "td_startup.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SCB_CFSR REGISTER(0xE000ED28u)
#define SCB_HFSR REGISTER(0xE000ED2Cu)

extern uint32_t td_stack_top[];

void td_reset(void);
void td_exception(void);
void td_fault(const uint32_t *frame);

/* The FPU (and Helium, which shares its registers) sleeps after reset: CPACR's fields CP10 and
 * CP11 wake it, before any C code may use it. */
void __attribute__((naked, used)) td_reset(void)
{
    __asm volatile(
        ".syntax unified\n"
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
        "ldr r0, =0xE000ED88\n"
        "ldr r1, [r0]\n"
        "orr r1, r1, #(0xF << 20)\n"
        "str r1, [r0]\n"
        "dsb\n"
        "isb\n"
#endif
        "ldr r0, =td_start\n"
        "bx r0\n");
}

/* EXC_RETURN's bit 2 says which stack holds the frame. */
void __attribute__((naked, used)) td_exception(void)
{
    __asm volatile(
        ".syntax unified\n"
        "movs r0, #4\n"
        "mov r1, lr\n"
        "tst r0, r1\n"
        "bne 1f\n"
        "mrs r0, msp\n"
        "b 2f\n"
        "1: mrs r0, psp\n"
        "2: ldr r1, =td_fault\n"
        "bx r1\n");
}

/* `frame`: r0 r1 r2 r3 r12 lr pc xpsr, as the core stacked them. */
void __attribute__((used)) td_fault(const uint32_t *frame)
{
    __asm volatile("cpsid i");
    for (;;) {
        td_fault_begin();
        td_fault_register("pc", frame[6]);
        td_fault_register("lr", frame[5]);
#if __ARM_ARCH >= 7     /* Armv6-M has no fault status */
        td_fault_register("cfsr", SCB_CFSR);
        td_fault_register("hfsr", SCB_HFSR);
#endif
        td_fault_end();
        td_fault_wait();
    }
}

/* Nothing here uses interrupts: whatever comes is a fault. */
typedef void (*vector)(void);

static const struct {
    uint32_t *stack;
    vector exceptions[15];
} vectors __attribute__((section(".vectors"), used)) = {
    td_stack_top,
    {
        td_reset,
        td_exception, td_exception, td_exception, td_exception, td_exception, td_exception,
        0, 0, 0,
        td_exception, td_exception, 0, td_exception, td_exception,
    },
};
#endif
