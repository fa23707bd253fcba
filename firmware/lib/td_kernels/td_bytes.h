/* td_bytes.h: what the kernels need of string.h, which bare-metal toolchains may lack. The
 * firmware links these functions in any case: compilers call them on their own. */
#ifndef TD_BYTES_H
#define TD_BYTES_H
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int byte, size_t n);

#endif
