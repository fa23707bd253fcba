/* ADD of two tensors of one shape with Helium, four elements at a time. GCC forms no loops with tail
 * predication and keeps no scalars in registers for them. */
#include "td_kernels.h"

#if defined(__ARM_FEATURE_MVE)
#include <stddef.h>

#include "td_asm_mve.h"

_Static_assert(offsetof(struct td_add_s8_mve, a_offset) == 4, "the loop loads the struct at once");
_Static_assert(offsetof(struct td_add_s8_mve, out_zero) == 28, "and in this order");
_Static_assert(offsetof(struct td_add_s8_mve, a_scale) == 32, "and in this order");
_Static_assert(offsetof(struct td_add_s8_mve, out_max) == 44, "and in this order");

/* r1 a, r2 b, r3 out; r4 to r11 the struct's first fields, q4 to q7 its last. */
#define TD_DEFINE_ADD(name, FIX)                               \
    TD_NAKED void name(TD_UNUSED const struct td_add_s8_mve *p, TD_UNUSED const int8_t *a,       \
                       TD_UNUSED const int8_t *b, TD_UNUSED int8_t *out)                         \
    {                                                          \
        __asm__ volatile(                                      \
            "push {r4-r11, lr}\n"                              \
            "vpush {d8-d15}\n"                                 \
            "ldm r0!, {r4-r11}\n"                              \
            "ldrd r12, lr, [r0]\n"                             \
            "vdup.32 q4, r12\n"                                \
            "vdup.32 q5, lr\n"                                 \
            "ldrd r12, lr, [r0, #8]\n"                         \
            "vdup.32 q6, r12\n"                                \
            "vdup.32 q7, lr\n"                                 \
            "dlstp.32 lr, r4\n"                                \
            "1: vldrb.s32 q0, [r1], #4\n"                      \
            "vldrb.s32 q1, [r2], #4\n"                         \
            "vmlas.s32 q0, q4, r5\n"                           \
            "vmlas.s32 q1, q5, r6\n"                           \
            "vqrdmulh.s32 q0, q0, r7\n"                        \
            TD_TIES_AWAY("q0", "q2")                           \
            "vrshl.s32 q0, r8\n"                               \
            "vadd.i32 q0, q0, q1\n"                            \
            "vqrdmulh.s32 q0, q0, r9\n"                        \
            FIX("q0", "q2")                                    \
            "vrshl.s32 q0, r10\n"                              \
            "vadd.i32 q0, q0, r11\n"                           \
            "vmax.s32 q0, q0, q6\n"                            \
            "vmin.s32 q0, q0, q7\n"                            \
            "vstrb.32 q0, [r3], #4\n"                          \
            "letp lr, 1b\n"                                    \
            "vpop {d8-d15}\n"                                  \
            "pop {r4-r11, pc}\n");                             \
    }

#define TD_NO_FIX(sum, t)

TD_DEFINE_ADD(td_add_s8_mve, TD_TIES_AWAY)
TD_DEFINE_ADD(td_add_relu_s8_mve, TD_NO_FIX)
#endif
