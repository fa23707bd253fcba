/* td_link.h: the serial protocol of firmware/PROTOCOL.md. Feed it the received bytes; it answers
 * through td_port_putc. Bounded, no malloc; any byte sequence is safe. */
#ifndef TD_LINK_H
#define TD_LINK_H
#include <stdint.h>

void td_link_init(void);            /* start the model and print the banner */
void td_link_byte(uint8_t byte);    /* one received byte; runs a command when it completes one */

#endif
