/* td_startup.h: where the architecture's reset code hands over. */
#ifndef TD_STARTUP_H
#define TD_STARTUP_H

/* Never returns. Called with the stack pointer at td_stack_top. */
void td_start(void);

#endif
