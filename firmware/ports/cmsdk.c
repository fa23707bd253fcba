/* cmsdk.c: Arm's MPS2 and MPS3 boards: the CMSDK UART, and the FPGA's counter as clock.
 *
 * The board's `defines` name both: TD_UART_BASE and TD_FPGAIO_BASE. */
#include "td_port.h"

#if !defined(TD_UART_BASE) || !defined(TD_FPGAIO_BASE)
#error "the board file's [defines] need TD_UART_BASE and TD_FPGAIO_BASE"
#endif

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define UART_DATA REGISTER(TD_UART_BASE + 0x00u)
#define UART_STATE REGISTER(TD_UART_BASE + 0x04u)
#define UART_CTRL REGISTER(TD_UART_BASE + 0x08u)
#define UART_BAUDDIV REGISTER(TD_UART_BASE + 0x10u)
#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u
#define CTRL_TX_RX_ENABLE 3u

#define FPGAIO_COUNTER REGISTER(TD_FPGAIO_BASE + 0x18u)
#define FPGAIO_PRESCALE REGISTER(TD_FPGAIO_BASE + 0x1Cu)

#define BAUD 115200u

void td_port_init(void)
{
    UART_BAUDDIV = F_CPU / BAUD;
    UART_CTRL = CTRL_TX_RX_ENABLE;
    (void)UART_DATA;    /* drops what is stale; QEMU looks at its line again only after a read */
    FPGAIO_PRESCALE = F_CPU / 1000000u - 1u;    /* the counter then counts microseconds */
    FPGAIO_COUNTER = 0;
}

int td_port_getc(void)
{
    return (UART_STATE & STATE_RX_FULL) != 0 ? (int)(UART_DATA & 0xFFu) : -1;
}

void td_port_putc(uint8_t byte)
{
    while ((UART_STATE & STATE_TX_FULL) != 0) {
    }
    UART_DATA = byte;
}

uint32_t td_port_timestamp_us(void)
{
    return FPGAIO_COUNTER;
}
