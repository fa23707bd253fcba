/* td_kernels_recurrent.h: layers that keep state between invokes; part of td_kernels.h. */
#ifndef TD_KERNELS_RECURRENT_H
#define TD_KERNELS_RECURRENT_H
#include <stdint.h>

/* SVDF: each filter has a row of `memory` past values. A step drops the oldest, appends the
 * filter's product with the input, and sums time weights times values over `rank` filters a unit. */
struct td_svdf_int {
    uint16_t batches, inputs, units, rank, memory;
    const int8_t *feature;          /* [units * rank][inputs] */
    const int32_t *feature_bias;    /* -in_zero * sum of the filter's weights */
    const void *time;               /* [units * rank][memory], of the state's type */
    const int32_t *bias;            /* a unit */
    int32_t feature_multiplier, multiplier;
    int8_t feature_down, down;
    int16_t state_zero, out_zero;
};
void td_svdf_s8(const struct td_svdf_int *p, const int8_t *in, int8_t *state, int8_t *out);
void td_svdf_s8_s16(const struct td_svdf_int *p, const int8_t *in, int16_t *state, int8_t *out);

struct td_svdf_f32 {
    uint16_t batches, inputs, units, rank, memory;
    const float *feature, *time, *bias;
    float out_min, out_max;
};
void td_svdf_f32(const struct td_svdf_f32 *p, const float *in, float *state, float *out);

/* UNIDIRECTIONAL_SEQUENCE_LSTM without peepholes, projection and normalization. Batch b at time t
 * reads and writes vector number b * batch_step + t * time_step. */
struct td_lstm_shape {
    uint16_t batches, times, inputs, units;
    uint16_t batch_step, time_step;
};

/* Weights [units][inputs] and [units][units]; products are scaled to Q3.12 one by one. */
struct td_lstm_gate_s8 {
    const int8_t *weights, *recurrent_weights;
    const int32_t *bias, *recurrent_bias;   /* less the zero points times the sums of weights */
    int32_t multiplier, recurrent_multiplier;
    int8_t down, recurrent_down;
};

/* Factors of 16 bits behind sums of 64; see struct td_scale_s16. */
struct td_lstm_gate_s16 {
    const int8_t *weights, *recurrent_weights;
    const int64_t *bias;
    int16_t multiplier, recurrent_multiplier;
    uint8_t right, recurrent_right;
};

/* Products of Q0.15 gates and the cell, whose scale is a power of two. */
struct td_lstm_cell {
    int32_t forget_multiplier, input_multiplier, out_multiplier;
    int8_t forget_down, input_down, out_down;
    int16_t clip;                   /* largest magnitude of the cell, 0 for any */
    int16_t out_zero;
    struct td_logistic_s16 gate;    /* of one element: sigmoid and tanh of Q3.12 */
    struct td_logistic_s16 tanh;    /* of the cell */
};

struct td_lstm_s8 {
    struct td_lstm_shape shape;
    struct td_lstm_gate_s8 input, forget, candidate, output;
    struct td_lstm_cell cell;
};
/* `scratch` holds one vector of units. */
void td_lstm_s8(const struct td_lstm_s8 *p, const int8_t *in, int8_t *hidden, int16_t *cell,
                int8_t *out, int8_t *scratch);

struct td_lstm_s16 {
    struct td_lstm_shape shape;
    struct td_lstm_gate_s16 input, forget, candidate, output;
    struct td_lstm_cell cell;
};
void td_lstm_s16(const struct td_lstm_s16 *p, const int16_t *in, int16_t *hidden, int16_t *cell,
                 int16_t *out, int16_t *scratch);

struct td_lstm_gate_f32 {
    const float *weights, *recurrent_weights, *bias;
};
struct td_lstm_f32 {
    struct td_lstm_shape shape;
    struct td_lstm_gate_f32 input, forget, candidate, output;
    float clip;
};
void td_lstm_f32(const struct td_lstm_f32 *p, const float *in, float *hidden, float *cell,
                 float *out, float *scratch);

#endif
