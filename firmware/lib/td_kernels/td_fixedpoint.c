/* Scaling as a function: smaller than inlined, where several kernels need it (-Os). */
#include "td_fixedpoint.h"

int32_t td_scale_shared(const struct td_scale *s, int32_t acc, uint32_t c)
{
    uint32_t i = c & s->channel_mask;
    return td_clamp(td_requantize(acc, s->multiplier[i], s->down[i]) + s->out_zero, s->out_min,
                    s->out_max);
}
