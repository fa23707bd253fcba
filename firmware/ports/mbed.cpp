/* mbed.cpp: every board of Mbed OS: the serial port of its USB plug, and the microsecond ticker.
 *
 * The builder says TD_BAUD. */
#include "mbed.h"

extern "C" {
#include "td_config.h"
#include "td_link.h"
#include "td_port.h"
}

#ifndef TD_BAUD
#error "td_build.h: define TD_BAUD, the speed of the serial port"
#endif

/* Blocking reads of one byte after readable(): no interrupt disturbs an inference. */
static mbed::UnbufferedSerial serial(USBTX, USBRX, TD_BAUD);

extern "C" void td_port_init(void)
{
}

extern "C" int td_port_getc(void)
{
    uint8_t byte;
    return serial.readable() && serial.read(&byte, 1) == 1 ? byte : -1;
}

extern "C" void td_port_putc(uint8_t byte)
{
    serial.write(&byte, 1);
}

extern "C" uint32_t td_port_timestamp_us(void)
{
    return us_ticker_read();
}

int main()
{
    td_port_init();
    td_link_init();
    for (;;) {
        int byte = td_port_getc();
        if (byte >= 0) {
            td_link_byte((uint8_t)byte);
        }
    }
}
