/* nrf51.c: Nordic's nRF51: UART0 on the micro:bit's USB pins, TIMER0 as clock. */
#include "td_port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define UART_BASE 0x40002000u
#define UART_START_RX REGISTER(UART_BASE + 0x000u)
#define UART_START_TX REGISTER(UART_BASE + 0x008u)
#define UART_RX_READY REGISTER(UART_BASE + 0x108u)
#define UART_TX_READY REGISTER(UART_BASE + 0x11Cu)
#define UART_ENABLE REGISTER(UART_BASE + 0x500u)
#define UART_PIN_TX REGISTER(UART_BASE + 0x50Cu)
#define UART_PIN_RX REGISTER(UART_BASE + 0x514u)
#define UART_RXD REGISTER(UART_BASE + 0x518u)
#define UART_TXD REGISTER(UART_BASE + 0x51Cu)
#define UART_BAUDRATE REGISTER(UART_BASE + 0x524u)
#define ENABLE_UART 4u
#define BAUDRATE_115200 0x01D7E000u
#define PIN_TX 24u
#define PIN_RX 25u

#define TIMER_BASE 0x40008000u
#define TIMER_START REGISTER(TIMER_BASE + 0x000u)
#define TIMER_CAPTURE0 REGISTER(TIMER_BASE + 0x040u)
#define TIMER_BITMODE REGISTER(TIMER_BASE + 0x508u)
#define TIMER_PRESCALER REGISTER(TIMER_BASE + 0x510u)
#define TIMER_CC0 REGISTER(TIMER_BASE + 0x540u)
#define BITMODE_32 3u
#define PRESCALE_16_TO_1_MHZ 4u

void td_port_init(void)
{
    UART_PIN_TX = PIN_TX;
    UART_PIN_RX = PIN_RX;
    UART_BAUDRATE = BAUDRATE_115200;
    UART_ENABLE = ENABLE_UART;
    UART_START_TX = 1;
    UART_START_RX = 1;
    UART_TX_READY = 0;
    /* The timer comes last: QEMU looks at its serial line again when a timer starts. */
    TIMER_BITMODE = BITMODE_32;
    TIMER_PRESCALER = PRESCALE_16_TO_1_MHZ;
    TIMER_START = 1;
}

int td_port_getc(void)
{
    if (UART_RX_READY == 0) {
        return -1;
    }
    UART_RX_READY = 0;  /* before the read, which fetches the next byte and may set it again */
    return (int)(UART_RXD & 0xFFu);
}

void td_port_putc(uint8_t byte)
{
    UART_TX_READY = 0;
    UART_TXD = byte;
    while (UART_TX_READY == 0) {
    }
}

uint32_t td_port_timestamp_us(void)
{
    TIMER_CAPTURE0 = 1;
    return TIMER_CC0;
}
