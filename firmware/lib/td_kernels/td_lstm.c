/* UNIDIRECTIONAL_SEQUENCE_LSTM: gates in Q0.15 and the cell in 16 bits, or all in float.
 *
 * A unit needs the old outputs of all units, but only its own cell: cells are renewed in place,
 * outputs are gathered in scratch memory and become the hidden state at the end of a step. */
#include "td_bytes.h"
#include "td_fixedpoint.h"
#include "td_math.h"

static int32_t saturated(int32_t x)
{
    return td_clamp(x, INT16_MIN, INT16_MAX);
}

/* One gate of unit u before its function, in Q3.12. */
static int16_t gate_s8(const struct td_lstm_shape *s, const struct td_lstm_gate_s8 *g, uint32_t u,
                       const int8_t *in, const int8_t *hidden)
{
    const int8_t *w = g->weights + u * s->inputs, *r = g->recurrent_weights + u * s->units;
    int32_t x = g->bias[u], h = g->recurrent_bias[u];
    for (uint32_t i = 0; i < s->inputs; i++)
        x += w[i] * in[i];
    for (uint32_t i = 0; i < s->units; i++)
        h += r[i] * hidden[i];
    x = saturated(td_requantize(x, g->multiplier, g->down));
    h = saturated(td_requantize(h, g->recurrent_multiplier, g->recurrent_down));
    return (int16_t)saturated(x + h);
}

static int32_t scaled_s16(int64_t sum, int16_t multiplier, uint8_t right)
{
    return saturated((int32_t)((sum * multiplier + ((int64_t)1 << (right - 1))) >> right));
}

static int16_t gate_s16(const struct td_lstm_shape *s, const struct td_lstm_gate_s16 *g,
                        uint32_t u, const int16_t *in, const int16_t *hidden)
{
    const int8_t *w = g->weights + u * s->inputs, *r = g->recurrent_weights + u * s->units;
    int64_t x = g->bias[u], h = 0;
    for (uint32_t i = 0; i < s->inputs; i++)
        x += w[i] * in[i];
    for (uint32_t i = 0; i < s->units; i++)
        h += r[i] * hidden[i];
    int32_t sum = scaled_s16(x, g->multiplier, g->right) +
                  scaled_s16(h, g->recurrent_multiplier, g->recurrent_right);
    return (int16_t)saturated(sum);
}

struct gates {
    int16_t input, forget, candidate, output;
};

/* The unit's new output, before its zero point, from its gates; renews its cell. */
static int32_t unit(const struct td_lstm_cell *c, struct gates *g, int16_t *cell)
{
    td_logistic_s16(&c->gate, &g->input, &g->input);
    td_logistic_s16(&c->gate, &g->forget, &g->forget);
    td_tanh_s16(&c->gate, &g->candidate, &g->candidate);
    td_logistic_s16(&c->gate, &g->output, &g->output);
    int32_t kept = td_requantize(g->forget * *cell, c->forget_multiplier, c->forget_down);
    int32_t added = td_requantize(g->input * g->candidate, c->input_multiplier, c->input_down);
    int32_t sum = saturated(saturated(kept) + saturated(added));
    if (c->clip > 0)
        sum = td_clamp(sum, -c->clip, c->clip);
    *cell = (int16_t)sum;
    int16_t y;
    td_tanh_s16(&c->tanh, cell, &y);
    return td_requantize(y * g->output, c->out_multiplier, c->out_down) + c->out_zero;
}

#define TD_DEFINE_LSTM(name, type, gate, lowest, highest)                                         \
    void name(const struct name *p, const type *in, type *hidden, int16_t *cell, type *out,       \
              type *scratch)                                                                      \
    {                                                                                             \
        const struct td_lstm_shape *s = &p->shape;                                                \
        for (uint32_t b = 0; b < s->batches; b++, hidden += s->units, cell += s->units)           \
            for (uint32_t t = 0; t < s->times; t++) {                                             \
                uint32_t at = b * s->batch_step + t * s->time_step;                               \
                const type *x = in + at * s->inputs;                                              \
                for (uint32_t u = 0; u < s->units; u++) {                                         \
                    struct gates g = {                                                            \
                        gate(s, &p->input, u, x, hidden),                                         \
                        gate(s, &p->forget, u, x, hidden),                                        \
                        gate(s, &p->candidate, u, x, hidden),                                     \
                        gate(s, &p->output, u, x, hidden),                                        \
                    };                                                                            \
                    scratch[u] = (type)td_clamp(unit(&p->cell, &g, &cell[u]), lowest, highest);   \
                }                                                                                 \
                memcpy(hidden, scratch, s->units * sizeof(type));                                 \
                memcpy(out + at * s->units, scratch, s->units * sizeof(type));                    \
            }                                                                                     \
    }

TD_DEFINE_LSTM(td_lstm_s8, int8_t, gate_s8, INT8_MIN, INT8_MAX)
TD_DEFINE_LSTM(td_lstm_s16, int16_t, gate_s16, INT16_MIN, INT16_MAX)

static float gate_f32(const struct td_lstm_shape *s, const struct td_lstm_gate_f32 *g, uint32_t u,
                      const float *in, const float *hidden)
{
    const float *w = g->weights + u * s->inputs, *r = g->recurrent_weights + u * s->units;
    float x = g->bias[u], h = 0.0f;
    for (uint32_t i = 0; i < s->inputs; i++)
        x += w[i] * in[i];
    for (uint32_t i = 0; i < s->units; i++)
        h += r[i] * hidden[i];
    return x + h;
}

static float sigmoid(float x)
{
    const struct td_elements one = {1};
    td_logistic_f32(&one, &x, &x);
    return x;
}

void td_lstm_f32(const struct td_lstm_f32 *p, const float *in, float *hidden, float *cell,
                 float *out, float *scratch)
{
    const struct td_lstm_shape *s = &p->shape;
    for (uint32_t b = 0; b < s->batches; b++, hidden += s->units, cell += s->units)
        for (uint32_t t = 0; t < s->times; t++) {
            uint32_t at = b * s->batch_step + t * s->time_step;
            const float *x = in + at * s->inputs;
            for (uint32_t u = 0; u < s->units; u++) {
                float kept = sigmoid(gate_f32(s, &p->forget, u, x, hidden)) * cell[u];
                float added = sigmoid(gate_f32(s, &p->input, u, x, hidden)) *
                              td_tanhf(gate_f32(s, &p->candidate, u, x, hidden));
                float sum = kept + added;
                if (p->clip > 0.0f)
                    sum = sum < -p->clip ? -p->clip : sum > p->clip ? p->clip : sum;
                cell[u] = sum;
                scratch[u] = td_tanhf(sum) * sigmoid(gate_f32(s, &p->output, u, x, hidden));
            }
            memcpy(hidden, scratch, s->units * sizeof(float));
            memcpy(out + at * s->units, scratch, s->units * sizeof(float));
        }
}
