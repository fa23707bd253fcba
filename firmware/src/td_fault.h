/* td_fault.h: what a crash still says, for the start-up code of each architecture: the line again
 * and again, whenever a host asks, since the first may have been damaged or heard by nobody. */
#ifndef TD_FAULT_H
#define TD_FAULT_H
#include <stdint.h>

void td_fault_begin(void);                              /* "!FAULT" at the start of a line */
void td_fault_register(const char *name, uint32_t value);   /* " name=xxxxxxxx" */
void td_fault_end(void);                                /* its CRC and end */
void td_fault_wait(void);                               /* until a host has sent a command */

#endif
