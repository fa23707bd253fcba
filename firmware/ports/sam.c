/* sam.c: a SAM's USART without pins, and SysTick as clock: for emulators.
 *
 * The board's `defines` name TD_UART_BASE and TD_SYSTICK_HZ, a multiple of 1 MHz. */
#include "td_port.h"

#if !defined(TD_UART_BASE) || !defined(TD_SYSTICK_HZ)
#error "the board file's [defines] need TD_UART_BASE and TD_SYSTICK_HZ"
#endif

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define USART_CONTROL REGISTER(TD_UART_BASE + 0x00u)
#define USART_MODE REGISTER(TD_UART_BASE + 0x04u)
#define USART_STATUS REGISTER(TD_UART_BASE + 0x14u)
#define USART_RX REGISTER(TD_UART_BASE + 0x18u)
#define USART_TX REGISTER(TD_UART_BASE + 0x1Cu)
#define USART_BAUD REGISTER(TD_UART_BASE + 0x20u)
#define CONTROL_RX_TX_ENABLE 0x50u
#define MODE_8N1 0x8C0u
#define STATUS_RECEIVED 1u
#define STATUS_CAN_SEND 2u

#define SYSTICK_CONTROL REGISTER(0xE000E010u)
#define SYSTICK_RELOAD REGISTER(0xE000E014u)
#define SYSTICK_COUNT REGISTER(0xE000E018u)
#define SYSTICK_LAST 0xFFFFFFu
#define SYSTICK_RUN 5u      /* core clock, no interrupt */

#ifndef TD_BAUD
#define TD_BAUD 115200u
#endif

static uint32_t seen;
static uint64_t ticks;

void td_port_init(void)
{
    USART_MODE = MODE_8N1;
    USART_BAUD = F_CPU / 16u / TD_BAUD;
    USART_CONTROL = CONTROL_RX_TX_ENABLE;
    SYSTICK_RELOAD = SYSTICK_LAST;
    SYSTICK_COUNT = 0;
    SYSTICK_CONTROL = SYSTICK_RUN;
    seen = SYSTICK_COUNT;
}

/* SysTick has 24 bits and counts down: it is read more often than it wraps, but for an inference of
 * 2^24 ticks, whose time then is short by them. */
uint32_t td_port_timestamp_us(void)
{
    uint32_t now = SYSTICK_COUNT;
    ticks += (seen - now) & SYSTICK_LAST;
    seen = now;
    return (uint32_t)(ticks / (TD_SYSTICK_HZ / 1000000u));
}

int td_port_getc(void)
{
    if ((USART_STATUS & STATUS_RECEIVED) != 0) {
        return (int)(USART_RX & 0xFFu);
    }
    (void)td_port_timestamp_us();
    return -1;
}

void td_port_putc(uint8_t byte)
{
    while ((USART_STATUS & STATUS_CAN_SEND) == 0) {
    }
    USART_TX = byte;
}
