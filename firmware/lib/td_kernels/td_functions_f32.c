/* Operators with one float operand. */
#include "td_float.h"
#include "td_kernels.h"
#include "td_math.h"

#define TD_DEFINE_FUNCTION(name, function)                                                        \
    void name(const struct td_elements *p, const float *in, float *out)                           \
    {                                                                                             \
        for (uint32_t i = 0; i < p->elements; i++)                                                \
            out[i] = function(in[i]);                                                             \
    }

static float absolute(float x)
{
    return x < 0.0f ? -x : x == 0.0f ? 0.0f : x;
}

static float negative(float x)
{
    return -x;
}

static float ceiling(float x)
{
    return -td_floorf(-x);
}

/* TFLite-Micro rounds ties to the even neighbour. */
static float nearest(float x)
{
    float below = td_floorf(x), rest = x - below;
    if (rest < 0.5f)
        return below;
    if (rest == 0.5f && below == 2.0f * td_floorf(below * 0.5f))
        return below;
    return below + (rest >= 0.5f ? 1.0f : 0.0f);
}

static float elu(float x)
{
    return x < 0.0f ? td_expm1f(x) : x;
}

static float hard_swish(float x)
{
    return x * td_clampf(x + 3.0f, 0.0f, 6.0f) / 6.0f;
}

static float reciprocal_root(float x)
{
    return 1.0f / td_sqrtf(x);
}

static float square(float x)
{
    return x * x;
}

TD_DEFINE_FUNCTION(td_abs_f32, absolute)
TD_DEFINE_FUNCTION(td_ceil_f32, ceiling)
TD_DEFINE_FUNCTION(td_elu_f32, elu)
TD_DEFINE_FUNCTION(td_exp_f32, td_expf)
TD_DEFINE_FUNCTION(td_floor_f32, td_floorf)
TD_DEFINE_FUNCTION(td_hard_swish_f32, hard_swish)
TD_DEFINE_FUNCTION(td_log_f32, td_logf)
TD_DEFINE_FUNCTION(td_neg_f32, negative)
TD_DEFINE_FUNCTION(td_round_f32, nearest)
TD_DEFINE_FUNCTION(td_rsqrt_f32, reciprocal_root)
TD_DEFINE_FUNCTION(td_sqrt_f32, td_sqrtf)
TD_DEFINE_FUNCTION(td_square_f32, square)
TD_DEFINE_FUNCTION(td_tanh_f32, td_tanhf)

void td_leaky_relu_f32(const struct td_leaky_f32 *p, const float *in, float *out)
{
    for (uint32_t i = 0; i < p->elements; i++)
        out[i] = in[i] > 0.0f ? in[i] : in[i] * p->alpha;
}
