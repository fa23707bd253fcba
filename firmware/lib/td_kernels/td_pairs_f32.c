/* Operators with two float operands beside ADD and MUL. */
#include "td_broadcast.h"
#include "td_float.h"
#include "td_kernels.h"
#include "td_math.h"

static float clamped(const struct td_binary_f32 *p, float x)
{
    return td_clampf(x, p->out_min, p->out_max);
}

static float difference(const struct td_binary_f32 *p, float a, float b)
{
    return clamped(p, a - b);
}

static float quotient(const struct td_binary_f32 *p, float a, float b)
{
    return clamped(p, a / b);
}

static float squared(const struct td_binary_f32 *p, float a, float b)
{
    (void)p;
    return (a - b) * (a - b);
}

static float larger(const struct td_binary_f32 *p, float a, float b)
{
    (void)p;
    return a > b ? a : b;
}

static float smaller(const struct td_binary_f32 *p, float a, float b)
{
    (void)p;
    return a < b ? a : b;
}

/* a - n b with |result| < |b| and the sign of a, exactly: b is taken away in powers of two. */
static float remainder_of(float a, float b)
{
    float x = a < 0.0f ? -a : a, y = b < 0.0f ? -b : b;
    if (!(x < 0x1p127f) || !(y > 0.0f) || y != y)
        return 0.0f;
    while (x >= y) {
        float step = y;
        while (step <= x * 0.5f)
            step *= 2.0f;
        x -= step;
    }
    return a < 0.0f ? -x : x;
}

static float floor_mod(const struct td_binary_f32 *p, float a, float b)
{
    (void)p;
    float rest = remainder_of(a, b);
    return rest != 0.0f && (b < 0.0f) != (rest < 0.0f) ? rest + b : rest;
}

/* The reference divides in double precision. Its quotient is just below a whole number where the
 * remainder says so, though single precision rounds it up. */
static float floor_div(const struct td_binary_f32 *p, float a, float b)
{
    (void)p;
    float q = td_floorf(a / b);
    if (q >= -0x1p22f && q <= 0x1p22f) {
        float rest = remainder_of(a, b);
        if (rest != 0.0f && (b < 0.0f) != (rest < 0.0f))
            rest += b;
        float whole = (a - rest) / b;   /* nearly an integer */
        return td_floorf(whole + 0.5f);
    }
    return q;
}

static float sloped(const struct td_binary_f32 *p, float a, float b)
{
    (void)p;
    return a >= 0.0f ? a : a * b;
}

TD_DEFINE_BROADCAST(td_sub_f32, td_binary_f32, difference, float, float, float)
TD_DEFINE_BROADCAST(td_div_f32, td_binary_f32, quotient, float, float, float)
TD_DEFINE_BROADCAST(td_squared_difference_f32, td_binary_f32, squared, float, float, float)
TD_DEFINE_BROADCAST(td_maximum_f32, td_binary_f32, larger, float, float, float)
TD_DEFINE_BROADCAST(td_minimum_f32, td_binary_f32, smaller, float, float, float)
TD_DEFINE_BROADCAST(td_floor_mod_f32, td_binary_f32, floor_mod, float, float, float)
TD_DEFINE_BROADCAST(td_floor_div_f32, td_binary_f32, floor_div, float, float, float)
TD_DEFINE_BROADCAST(td_prelu_f32, td_binary_f32, sloped, float, float, float)
