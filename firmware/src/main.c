/* The whole firmware: bytes in, answers out. */
#include "td_link.h"
#include "td_port.h"

int main(void)
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
