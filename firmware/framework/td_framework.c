/* td_framework.c: what our start-up code gives on bare metal, where a framework starts the board.
 *
 * The framework owns the stack: how much of it is used is not known. Nothing counts between marks. */
#include "td_port.h"

uint32_t td_stack_reserved(void)
{
    return 0;
}

uint32_t td_stack_high_water(void)
{
    return 0;
}

void td_mark_begin(void)
{
}

void td_mark_end(void)
{
}
