/* L2_NORMALIZATION, LOG_SOFTMAX and RSQRT of integers, in fixed point as TFLite-Micro computes
 * them. Qm.n means m integer bits and n = 31 - m fractional bits. */
#include "td_fixed_functions.h"
#include "td_fixedpoint.h"

int32_t td_inverse_root(int32_t x, int32_t *shift)
{
    const int32_t half_three = (1 << 28) + (1 << 27);   /* Q3.28 */
    if (x <= 1) {
        *shift = 0;
        return INT32_MAX;
    }
    int32_t right = 11;
    for (; x >= 1 << 29; x /= 4)
        right++;
    int32_t pairs = ((int32_t)td_leading_zeros((uint32_t)x) - 1) / 2 - 1;
    right -= pairs;
    int32_t value = td_shift_left(x, (uint32_t)(2 * pairs)) >> 1;
    int32_t half = td_round_shift(value, 0);
    int32_t y = 1 << 28;
    for (int i = 0; i < 5; i++) {   /* Newton: y (3 - x y^2) / 2 */
        int32_t cube = td_saturating_shift(td_multiply_high(td_multiply_high(y, y), y), 6);
        int32_t next = td_multiply_high(half_three, y) - td_multiply_high(half, cube);
        y = td_saturating_shift(next, 3);
    }
    int32_t root = td_multiply_high(y, 1518500250); /* sqrt(1/2) */
    if (right < 0) {
        root = td_shift_left(root, (uint32_t)-right);
        right = 0;
    }
    *shift = -right;
    return root;
}

void td_rsqrt_s16(const struct td_rsqrt_s16 *p, const int16_t *in, int16_t *out)
{
    for (uint32_t i = 0; i < p->elements; i++) {
        int32_t q = INT16_MAX;
        if (in[i] > 0) {
            int32_t shift, root = td_inverse_root(in[i], &shift);
            q = td_requantize(td_requantize(1, root, -1 - (shift + 20)), p->multiplier, p->down);
        }
        out[i] = (int16_t)td_clamp(q, INT16_MIN, INT16_MAX);
    }
}

void td_l2_normalization_s8(const struct td_rows *p, const int8_t *in, int8_t *out)
{
    for (uint32_t r = 0; r < p->rows; r++, in += p->depth, out += p->depth) {
        int32_t sum = 0;
        for (uint32_t i = 0; i < p->depth; i++)
            sum += (in[i] - p->in_zero) * (in[i] - p->in_zero);
        int32_t shift, root = td_inverse_root(sum, &shift);
        for (uint32_t i = 0; i < p->depth; i++) {
            int32_t q = td_requantize(in[i] - p->in_zero, root, -1 - (shift + 7));
            out[i] = (int8_t)td_clamp(q, INT8_MIN, INT8_MAX);
        }
    }
}

static int32_t saturating_sum(int32_t a, int32_t b)
{
    int64_t sum = (int64_t)a + b;
    return sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
}

/* x * 2^bits, saturated, bits of either sign (rounded where negative). */
static int32_t scaled_by(int32_t x, int32_t bits)
{
    return bits >= 0 ? td_saturating_shift(x, (uint32_t)bits) : td_round_shift(x, -bits - 1);
}

/* log(x) for x >= 1 in Q12.19; in Q5.26. x = 2^n r with r in [sqrt(1/2), 1) by whichever of x and
 * x sqrt(1/2) gives the smaller r; log r is a quotient of polynomials around 2^(-1/4). */
static int32_t log_of(int32_t x)
{
    enum { IN = 12, OUT = 5, WIDE = OUT + 1 };
    const int32_t log_2 = 1488522236, root_root_half = 1805811301, root_half = 1518500250;
    const int32_t alpha_n = 117049297, alpha_d = 127690142, alpha_i = 1057819769,
                  alpha_f = 638450708;
    const int32_t quarter = (1 << 29) >> WIDE;
    int32_t zeros = (int32_t)td_leading_zeros((uint32_t)x);
    int32_t a = scaled_by(x, zeros - 1);
    int32_t r_a = scaled_by(td_multiply_high(a, root_half), 1);
    int32_t n_a = saturating_sum(scaled_by(IN - zeros, 31 - WIDE), quarter);
    int32_t b = td_multiply_high(x, root_half);
    int32_t room = (int32_t)td_leading_zeros((uint32_t)b) - 1;
    int32_t r_b = scaled_by(x, room);
    int32_t n_b = saturating_sum(scaled_by(IN - room, 31 - WIDE), -quarter);
    int32_t r = r_a < r_b ? r_a : r_b, n = n_a > n_b ? n_a : n_b;

    int32_t p = (int32_t)(((int64_t)r + root_root_half + 1) / 2);
    int32_t q = (r - root_root_half) * 2;
    int32_t square = td_multiply_high(q, q);
    int32_t above = td_multiply_high(q, r) +
                    td_multiply_high(td_multiply_high(q, square), alpha_n);
    int32_t below = td_multiply_high(p, alpha_i + q + td_multiply_high(alpha_d, square)) +
                    td_multiply_high(alpha_f, q);
    int32_t inverse = td_reciprocal_of_one_plus(below);
    int32_t log = td_multiply_high(n, log_2) +
                  td_multiply_high(td_round_shift(above, WIDE - 1), inverse);
    return td_saturating_shift(log, WIDE - OUT);
}

static void log_softmax_row(const struct td_log_softmax_s8 *p, const int8_t *in, int8_t *out)
{
    int32_t max = INT8_MIN, sum = 0;
    for (uint32_t i = 0; i < p->depth; i++)
        max = in[i] > max ? in[i] : max;
    int32_t down = -1 - (int32_t)p->left_shift;
    for (uint32_t i = 0; i < p->depth; i++)
        if (in[i] - max >= p->diff_min)
            sum += td_round_shift(td_exp_negative(td_requantize(in[i] - max, p->multiplier, down)),
                                  11);
    int32_t log = log_of(sum);
    int32_t least = td_requantize((int32_t)((uint32_t)log + 0x80000000u), p->inverse_multiplier,
                                  p->inverse_down);
    least = least > p->diff_min - 1 ? least : p->diff_min - 1;
    for (uint32_t i = 0; i < p->depth; i++) {
        int32_t q = INT8_MIN;
        if (in[i] - max > least)
            q = td_round_shift(td_requantize(in[i] - max, p->multiplier, down) - log, 21) +
                INT8_MAX;
        out[i] = (int8_t)td_clamp(q, INT8_MIN, INT8_MAX);
    }
}

void td_log_softmax_s8(const struct td_log_softmax_s8 *p, const int8_t *in, int8_t *out)
{
    for (uint32_t r = 0; r < p->rows; r++, in += p->depth, out += p->depth)
        log_softmax_row(p, in, out);
}
