/* sifive.c: SiFive's FE310: its UART, and the core's cycle counter as clock.
 *
 * The board's `defines` name TD_UART_BASE. The clock is the board's 16 MHz crystal, F_CPU: the ring
 * oscillator after reset is too far off for a UART. */
#include "td_port.h"

#ifndef TD_UART_BASE
#error "the board file's [defines] need TD_UART_BASE"
#endif

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define CRYSTAL REGISTER(0x10008004u)
#define CRYSTAL_ENABLE (1u << 30)
#define CRYSTAL_READY (1u << 31)
#define PLL REGISTER(0x10008008u)
#define PLL_BYPASS (1u << 18)
#define PLL_FROM_CRYSTAL (1u << 17)
#define PLL_SELECT (1u << 16)

#define PINS_TO_UART0 (3u << 16)
#define GPIO_FUNCTION_ENABLE REGISTER(0x10012038u)
#define GPIO_FUNCTION_SELECT REGISTER(0x1001203Cu)

#define UART_TX REGISTER(TD_UART_BASE + 0x00u)
#define UART_RX REGISTER(TD_UART_BASE + 0x04u)
#define UART_TX_CONTROL REGISTER(TD_UART_BASE + 0x08u)
#define UART_RX_CONTROL REGISTER(TD_UART_BASE + 0x0Cu)
#define UART_DIVISOR REGISTER(TD_UART_BASE + 0x18u)
#define TX_FULL (1u << 31)
#define RX_EMPTY (1u << 31)
#define ENABLE 1u

#ifndef TD_BAUD
#define TD_BAUD 115200u
#endif

void td_port_init(void)
{
    CRYSTAL = CRYSTAL_ENABLE;
    while ((CRYSTAL & CRYSTAL_READY) == 0) {
    }
    PLL = PLL_BYPASS | PLL_FROM_CRYSTAL | PLL_SELECT;
    GPIO_FUNCTION_SELECT &= ~PINS_TO_UART0;
    GPIO_FUNCTION_ENABLE |= PINS_TO_UART0;
    UART_DIVISOR = F_CPU / TD_BAUD - 1u;
    UART_TX_CONTROL = ENABLE;
    UART_RX_CONTROL = ENABLE;
}

int td_port_getc(void)
{
    uint32_t received = UART_RX;
    return (received & RX_EMPTY) != 0 ? -1 : (int)(received & 0xFFu);
}

void td_port_putc(uint8_t byte)
{
    while ((UART_TX & TX_FULL) != 0) {
    }
    UART_TX = byte;
}

/* Both halves, so that the result wraps at 2^32 microseconds and not where the low half does. */
uint32_t td_port_timestamp_us(void)
{
    uint32_t high;
    uint32_t low;
    uint32_t again;
    do {
        __asm volatile("csrr %0, mcycleh" : "=r"(high));
        __asm volatile("csrr %0, mcycle" : "=r"(low));
        __asm volatile("csrr %0, mcycleh" : "=r"(again));
    } while (high != again);
    return (uint32_t)(((uint64_t)high << 32 | low) / (F_CPU / 1000000u));
}
