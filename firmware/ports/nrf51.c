/* nrf51.c: Nordic's nRF51 and nRF52: UART0, TIMER0 as clock.
 *
 * TD_UART_PIN_TX and TD_UART_PIN_RX are the micro:bit's unless the board's `defines` name others.
 * TD_NRF52 is for what only the nRF52 has. */
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
#ifndef TD_UART_PIN_TX
#define TD_UART_PIN_TX 24u
#define TD_UART_PIN_RX 25u
#endif

#ifdef TD_NRF52
#define CLOCK_START_CRYSTAL REGISTER(0x40000000u)
#define CLOCK_CRYSTAL_STARTED REGISTER(0x40000100u)
#define FLASH_CACHE REGISTER(0x4001E540u)
#endif

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
#ifdef TD_NRF52
    CLOCK_START_CRYSTAL = 1;    /* the oscillator after reset is too far off for a UART */
    while (CLOCK_CRYSTAL_STARTED == 0) {
    }
    FLASH_CACHE = 1;
#endif
    UART_PIN_TX = TD_UART_PIN_TX;
    UART_PIN_RX = TD_UART_PIN_RX;
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
