/* td_port.h: what a board must give the firmware. One file in ports/ implements it. */
#ifndef TD_PORT_H
#define TD_PORT_H
#include <stdint.h>

/* ---- required */
void td_port_init(void);            /* clocks, UART, timer */
int td_port_getc(void);             /* next received byte, or -1 when there is none */
void td_port_putc(uint8_t byte);    /* send one byte, waiting while the line is busy */
uint32_t td_port_timestamp_us(void);/* microseconds, wraps at 2^32 */

/* ---- optional: a port that has one defines the macro in its board's `defines` */
#ifdef TD_PORT_HAS_ENERGY
void td_port_energy_start(void);    /* open the meter's window: pin edge, marker, ... */
void td_port_energy_stop(void);
uint32_t td_port_energy_nj(void);   /* of the last window; 0 when only the host's meter knows */
#endif

#ifdef TD_PORT_HAS_TIMESTAMP_PIN
/* Pull the timestamp pin low for 20 to 100 us, then leave it high: a meter cuts its windows at the
 * falling edges. Called right before the first and right after the last inference of an `infer`. */
void td_port_timestamp_pin(void);
#endif

/* ---- only in firmware whose model can be exchanged (td_update.h), and there required */
/* The board's `defines` hold TD_PORT_FLASH_BYTES, the size of a part of flash that no firmware is linked to,
 * and TD_PORT_FLASH_PAGE, what one erase clears to 0xFF. */
const uint8_t *td_port_flash(void);     /* where that part is read, aligned to 16 bytes */
int td_port_flash_erase(uint32_t offset);                   /* one page; 0 or a negative number */
/* 32 bytes at a multiple of 32, which are blank; 0 or a negative number. */
int td_port_flash_program(uint32_t offset, const void *data, uint32_t bytes);

/* ---- provided by the start-up code in src/ */
uint32_t td_stack_reserved(void);   /* bytes between the statics and the stack's top, 0: unknown */
uint32_t td_stack_high_water(void); /* bytes of stack used since start (painted), 0: unknown */

/* The emulator counts instructions between the two; empty, never inlined. */
void td_mark_begin(void);
void td_mark_end(void);

#endif
