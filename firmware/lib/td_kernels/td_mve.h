/* td_mve.h: moving bytes with Helium; its tail predication needs no case for a last part. */
#ifndef TD_MVE_H
#define TD_MVE_H
#include <stdint.h>

/* GCC 12 does not form loops with tail predication. */
static inline int8_t *td_copy_bytes(int8_t *to, const int8_t *from, uint32_t count)
{
    int8_t *end = to + count;
    __asm__ volatile("wlstp.8 lr, %[count], 2f\n"
                     "1: vldrb.8 q0, [%[from]], #16\n"
                     "vstrb.8 q0, [%[to]], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : [to] "+r"(to), [from] "+r"(from)
                     : [count] "r"(count)
                     : "lr", "q0", "memory");
    return end;
}

static inline int8_t *td_fill_bytes(int8_t *to, int byte, uint32_t count)
{
    int8_t *end = to + count;
    __asm__ volatile("vdup.8 q0, %[byte]\n"
                     "wlstp.8 lr, %[count], 2f\n"
                     "1: vstrb.8 q0, [%[to]], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : [to] "+r"(to)
                     : [byte] "r"(byte), [count] "r"(count)
                     : "lr", "q0", "memory");
    return end;
}

#endif
