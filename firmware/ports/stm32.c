/* stm32.c: an STM32's USART and its 32-bit TIM2 as clock, without pins: for emulators.
 *
 * The board's `defines` name TD_UART_BASE and TD_USART_VERSION: 1 for the registers of the F2 and F4
 * (status and data in one place), 2 for those of the F7 and H7. */
#include "td_port.h"

#if !defined(TD_UART_BASE) || !defined(TD_USART_VERSION)
#error "the board file's [defines] need TD_UART_BASE and TD_USART_VERSION"
#endif

#define REGISTER(address) (*(volatile uint32_t *)(address))

#if TD_USART_VERSION == 1
#define USART_STATUS REGISTER(TD_UART_BASE + 0x00u)
#define USART_RX REGISTER(TD_UART_BASE + 0x04u)
#define USART_TX REGISTER(TD_UART_BASE + 0x04u)
#define USART_BAUD REGISTER(TD_UART_BASE + 0x08u)
#define USART_CONTROL REGISTER(TD_UART_BASE + 0x0Cu)
#define CONTROL_ENABLE (1u << 13)
#elif TD_USART_VERSION == 2
#define USART_CONTROL REGISTER(TD_UART_BASE + 0x00u)
#define USART_BAUD REGISTER(TD_UART_BASE + 0x0Cu)
#define USART_STATUS REGISTER(TD_UART_BASE + 0x1Cu)
#define USART_RX REGISTER(TD_UART_BASE + 0x24u)
#define USART_TX REGISTER(TD_UART_BASE + 0x28u)
#define CONTROL_ENABLE (1u << 0)
#else
#error "TD_USART_VERSION is 1 or 2"
#endif
#define STATUS_RECEIVED (1u << 5)
#define STATUS_CAN_SEND (1u << 7)
#define CONTROL_SEND (1u << 3)
#define CONTROL_RECEIVE (1u << 2)

#define TIMER_BASE 0x40000000u
#define TIMER_CONTROL REGISTER(TIMER_BASE + 0x00u)
#define TIMER_EVENT REGISTER(TIMER_BASE + 0x14u)
#define TIMER_COUNT REGISTER(TIMER_BASE + 0x24u)
#define TIMER_PRESCALE REGISTER(TIMER_BASE + 0x28u)
#define TIMER_LAST REGISTER(TIMER_BASE + 0x2Cu)

#ifndef TD_BAUD
#define TD_BAUD 115200u
#endif

void td_port_init(void)
{
    USART_BAUD = F_CPU / TD_BAUD;
    USART_CONTROL = CONTROL_ENABLE | CONTROL_SEND | CONTROL_RECEIVE;
    TIMER_PRESCALE = F_CPU / 1000000u - 1u;
    TIMER_LAST = 0xFFFFFFFFu;
    TIMER_EVENT = 1;    /* loads the prescaler */
    TIMER_CONTROL = 1;
}

int td_port_getc(void)
{
    return (USART_STATUS & STATUS_RECEIVED) != 0 ? (int)(USART_RX & 0xFFu) : -1;
}

void td_port_putc(uint8_t byte)
{
    while ((USART_STATUS & STATUS_CAN_SEND) == 0) {
    }
    USART_TX = byte;
}

uint32_t td_port_timestamp_us(void)
{
    return TIMER_COUNT;
}
