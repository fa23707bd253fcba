/* fault.c: one line that tells the host where the firmware crashed. It uses td_port_putc alone,
 * which waits until the line takes the byte, so that nothing is lost when the core halts. */
#include "td_fault.h"

#include "td_crc32.h"
#include "td_port.h"

#if defined(__arm__) || defined(__riscv)

static uint32_t crc;

static void put(char c)
{
    crc = td_crc32(crc, &c, 1);
    td_port_putc((uint8_t)c);
}

static void put_text(const char *text)
{
    while (*text != '\0') {
        put(*text++);
    }
}

static void put_hex(uint32_t value)
{
    for (int shift = 28; shift >= 0; shift -= 4) {
        put("0123456789abcdef"[value >> shift & 15u]);
    }
}

void td_fault_begin(void)
{
    put_text("\r\n");
    crc = TD_CRC32_START;
    put_text("!FAULT");
}

void td_fault_register(const char *name, uint32_t value)
{
    put(' ');
    put_text(name);
    put('=');
    put_hex(value);
}

void td_fault_end(void)
{
    uint32_t covered = crc;
    put(' ');
    put_hex(covered);
    put_text("\r\n");
}

void td_fault_wait(void)
{
    while (td_port_getc() != '%') {
    }
}

#endif
