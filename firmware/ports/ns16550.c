/* ns16550.c: a 16550 UART with byte registers, and RISC-V's mtime as clock.
 *
 * The board's `defines` name both: TD_UART_BASE and TD_MTIME_BASE. F_CPU is mtime's frequency. */
#include "td_port.h"

#if !defined(TD_UART_BASE) || !defined(TD_MTIME_BASE)
#error "the board file's [defines] need TD_UART_BASE and TD_MTIME_BASE"
#endif

#define UART(offset) (*(volatile uint8_t *)(TD_UART_BASE + (offset)))
#define UART_DATA UART(0)
#define UART_INTERRUPTS UART(1)
#define UART_LINE UART(3)
#define UART_STATUS UART(5)
#define LINE_8N1 3u
#define STATUS_RECEIVED 0x01u
#define STATUS_CAN_SEND 0x20u

#define MTIME_LOW (*(volatile uint32_t *)TD_MTIME_BASE)
#define MTIME_HIGH (*(volatile uint32_t *)(TD_MTIME_BASE + 4u))

void td_port_init(void)
{
    UART_INTERRUPTS = 0;
    UART_LINE = LINE_8N1;
}

int td_port_getc(void)
{
    return (UART_STATUS & STATUS_RECEIVED) != 0 ? (int)UART_DATA : -1;
}

void td_port_putc(uint8_t byte)
{
    while ((UART_STATUS & STATUS_CAN_SEND) == 0) {
    }
    UART_DATA = byte;
}

/* Both halves, so that the result wraps at 2^32 microseconds and not where mtime's low half does. */
uint32_t td_port_timestamp_us(void)
{
    uint32_t high;
    uint32_t low;
    do {
        high = MTIME_HIGH;
        low = MTIME_LOW;
    } while (high != MTIME_HIGH);
    return (uint32_t)(((uint64_t)high << 32 | low) / (F_CPU / 1000000u));
}
