/* startup.c: from reset to main, the same on every architecture: memory, stack paint, markers. */
#include "td_startup.h"

#include "td_port.h"

#if defined(__arm__) || defined(__riscv)

/* The linker scripts define these; all are aligned to 8 bytes. */
extern uint32_t td_data_load[], td_data_start[], td_data_end[];
extern uint32_t td_bss_start[], td_bss_end[], td_stack_top[];

#define PAINT 0xa5a5a5a5u
#define OWN_FRAME_BYTES 64u     /* what td_start's own calls may have below its frame */

int main(void);

void __attribute__((noinline)) td_mark_begin(void)
{
    __asm volatile("" ::: "memory");
}

/* The nop keeps the linker from folding the two into one address. */
void __attribute__((noinline)) td_mark_end(void)
{
    __asm volatile("nop" ::: "memory");
}

static void prepare_memory(void)
{
    const uint32_t *from = td_data_load;
    for (uint32_t *to = td_data_start; to < td_data_end; to++) {
        *to = *from++;
    }
    for (uint32_t *to = td_bss_start; to < td_bss_end; to++) {
        *to = 0;
    }
}

static void paint_stack(const void *frame)
{
    const volatile uint32_t *end = (const volatile uint32_t *)((uintptr_t)frame - OWN_FRAME_BYTES);
    for (volatile uint32_t *at = td_bss_end; at < end; at++) {
        *at = PAINT;
    }
}

void td_start(void)
{
    prepare_memory();
    paint_stack(__builtin_frame_address(0));
    /* An empty region first: the emulator's counter takes its length for the markers' own cost. */
    td_mark_begin();
    td_mark_end();
    main();
    for (;;) {
    }
}

uint32_t td_stack_reserved(void)
{
    return (uint32_t)((uintptr_t)td_stack_top - (uintptr_t)td_bss_end);
}

uint32_t td_stack_high_water(void)
{
    const volatile uint32_t *at = td_bss_end;
    while (at < td_stack_top && *at == PAINT) {
        at++;
    }
    return (uint32_t)((uintptr_t)td_stack_top - (uintptr_t)at);
}

#endif
