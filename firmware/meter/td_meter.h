/* td_meter.h: the text protocol of a helper board with a current monitor (see README.md). */
#ifndef TD_METER_H
#define TD_METER_H
#include <stdbool.h>
#include <stdint.h>

#include "td_ina.h"

#define TD_METER_PROTOCOL 1
#define TD_METER_LINE 32
#define TD_METER_SHUNT_UOHM 100000u     /* 0.1 ohm: what most breakout boards carry */

struct td_meter {
    const struct td_ina *ina;           /* NULL: no chip was found */
    void (*put)(char c);                /* sends one byte */
    uint32_t shunt_uohm;
    bool running;
    uint32_t samples;
    uint32_t overrange;
    uint32_t edges;
    uint32_t missed;                    /* conversions that could not be sent in time */
    char line[TD_METER_LINE];
    uint32_t length;
};

void td_meter_init(struct td_meter *meter, const struct td_ina *ina, void (*put)(char c));
void td_meter_byte(struct td_meter *meter, char c);     /* one byte from the host */
void td_meter_sample(struct td_meter *meter, uint32_t us, uint32_t raw_shunt, uint32_t raw_bus);
void td_meter_edge(struct td_meter *meter, uint32_t us);    /* falling edge of the timestamp pin */
void td_meter_missed(struct td_meter *meter, uint32_t conversions);

#endif
