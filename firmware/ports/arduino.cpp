/* arduino.cpp: every board with an Arduino core: its serial port, and micros() as clock.
 *
 * The builder says TD_BAUD; TD_SERIAL names another port than Serial. */
#include <Arduino.h>

extern "C" {
#include "td_config.h"
#include "td_link.h"
#include "td_port.h"
}

#ifndef TD_BAUD
#error "td_build.h: define TD_BAUD, the speed of the serial port"
#endif
#ifndef TD_SERIAL
#define TD_SERIAL Serial
#endif

extern "C" void td_port_init(void)
{
#ifdef ARDUINO_ARCH_ESP32
    /* Its queue holds 256 bytes otherwise: less than the lines that a host may send ahead. */
    TD_SERIAL.setRxBufferSize(TD_LINE_BYTES * TD_WINDOW + 64);
#endif
    TD_SERIAL.begin(TD_BAUD);
}

extern "C" int td_port_getc(void)
{
    return TD_SERIAL.available() > 0 ? TD_SERIAL.read() : -1;
}

extern "C" void td_port_putc(uint8_t byte)
{
    TD_SERIAL.write(byte);
}

extern "C" uint32_t td_port_timestamp_us(void)
{
    return (uint32_t)micros();
}

void setup()
{
    td_port_init();
    td_link_init();
}

void loop()
{
    for (int byte = td_port_getc(); byte >= 0; byte = td_port_getc()) {
        td_link_byte((uint8_t)byte);
    }
}
