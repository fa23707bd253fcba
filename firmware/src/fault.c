/* fault.c: one line that tells the host where the firmware crashed. It uses td_port_putc alone,
 * which waits until the line takes the byte, so that nothing is lost when the core halts. */
#include "td_fault.h"

#include "td_port.h"

#if defined(__arm__) || defined(__riscv)

static void put_text(const char *text)
{
    while (*text != '\0') {
        td_port_putc((uint8_t)*text++);
    }
}

void td_fault_begin(void)
{
    put_text("\r\n!FAULT");
}

void td_fault_register(const char *name, uint32_t value)
{
    td_port_putc(' ');
    put_text(name);
    td_port_putc('=');
    for (int shift = 28; shift >= 0; shift -= 4) {
        td_port_putc((uint8_t)"0123456789abcdef"[value >> shift & 15u]);
    }
}

void td_fault_end(void)
{
    put_text("\r\n");
}

#endif
