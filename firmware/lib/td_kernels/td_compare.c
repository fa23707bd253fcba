/* Comparisons: one kernel a type for all six. */
#include "td_broadcast.h"
#include "td_fixedpoint.h"

enum { LESS = 1, EQUAL = 2, GREATER = 4, UNORDERED = 8 };

#define TD_DEFINE_ORDER(name, type)                                                               \
    static int name(type a, type b)                                                               \
    {                                                                                             \
        return a < b ? LESS : a == b ? EQUAL : a > b ? GREATER : UNORDERED;                       \
    }                                                                                             \
                                                                                                  \
    static int name##_holds(const struct td_compare *p, type a, type b)                           \
    {                                                                                             \
        return (p->holds & name(a, b)) != 0;                                                      \
    }

TD_DEFINE_ORDER(order_i32, int32_t)
TD_DEFINE_ORDER(order_i64, int64_t)
TD_DEFINE_ORDER(order_f32, float)

static int scaled_holds(const struct td_compare_s8 *p, int32_t a, int32_t b)
{
    int32_t x = td_requantize((a - p->a_zero) * 256, p->a_multiplier, p->a_down);
    int32_t y = td_requantize((b - p->b_zero) * 256, p->b_multiplier, p->b_down);
    return (p->holds & order_i32(x, y)) != 0;
}

TD_DEFINE_BROADCAST(td_compare_u8, td_compare, order_i32_holds, uint8_t, uint8_t, uint8_t)
TD_DEFINE_BROADCAST(td_compare_i32, td_compare, order_i32_holds, int32_t, int32_t, uint8_t)
TD_DEFINE_BROADCAST(td_compare_i64, td_compare, order_i64_holds, int64_t, int64_t, uint8_t)
TD_DEFINE_BROADCAST(td_compare_f32, td_compare, order_f32_holds, float, float, uint8_t)
TD_DEFINE_BROADCAST(td_compare_s8, td_compare_s8, scaled_holds, int8_t, int8_t, uint8_t)
