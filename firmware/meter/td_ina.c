#include "td_ina.h"

#include <stddef.h>

/* Continuous conversion of shunt and bus, the shortest times that keep the full resolution:
 * INA219 12 bit 532 us each, INA226 588 us each, INA228 540 us each in its +-40.96 mV range. */
static const struct td_ina chips[] = {
    {TD_INA219, {{0x00, 0x399F}, {0x00, 0x399F}}, {1, 2}, {2, 2}, {2, 2}, 0x0002, 1064},
    {TD_INA226, {{0x00, 0x40DF}, {0x00, 0x40DF}}, {1, 2}, {2, 2}, {6, 2}, 0x0008, 1176},
    {TD_INA228, {{0x00, 0x0010}, {0x01, 0xB920}}, {4, 3}, {5, 3}, {11, 2}, 0x0002, 1080},
};

const struct td_ina *td_ina_of(enum td_ina_chip chip)
{
    for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++) {
        if (chips[i].chip == chip) {
            return &chips[i];
        }
    }
    return NULL;
}

const struct td_ina *td_ina_detect(td_ina_read16 read)
{
    uint16_t value = 0;
    if (read(0x3F, &value) && value >> 4 == 0x228) {    /* device id, the revision behind it */
        return td_ina_of(TD_INA228);
    }
    if (read(0xFF, &value) && value >> 4 == 0x226) {
        return td_ina_of(TD_INA226);
    }
    if (read(0x00, &value) && value == 0x399F) {        /* no id: the configuration after reset */
        return td_ina_of(TD_INA219);
    }
    return NULL;
}

static int32_t signed_of(uint32_t raw, uint32_t bits)
{
    uint32_t sign = 1u << (bits - 1u);
    return (int32_t)((raw ^ sign) - sign);
}

/* 20 bits stand above 4 reserved ones. */
static int32_t shunt_counts(enum td_ina_chip chip, uint32_t raw)
{
    return chip == TD_INA228 ? signed_of(raw >> 4 & 0xFFFFFu, 20) : signed_of(raw & 0xFFFFu, 16);
}

int32_t td_ina_shunt_nv(enum td_ina_chip chip, uint32_t raw)
{
    int64_t counts = shunt_counts(chip, raw);
    switch (chip) {
    case TD_INA219:
        return (int32_t)(counts * 10000);       /* 10 uV */
    case TD_INA226:
        return (int32_t)(counts * 2500);        /* 2.5 uV */
    case TD_INA228:
        return (int32_t)(counts * 78125 / 1000);    /* 78.125 nV */
    default:
        return 0;
    }
}

int32_t td_ina_bus_uv(enum td_ina_chip chip, uint32_t raw)
{
    switch (chip) {
    case TD_INA219:
        return (int32_t)((raw & 0xFFFFu) >> 3) * 4000;  /* 4 mV, above three flags */
    case TD_INA226:
        return (int32_t)(raw & 0x7FFFu) * 1250;         /* 1.25 mV */
    case TD_INA228:
        return (int32_t)((int64_t)(raw >> 4 & 0xFFFFFu) * 1953125 / 10000); /* 195.3125 uV */
    default:
        return 0;
    }
}

bool td_ina_overrange(enum td_ina_chip chip, uint32_t raw)
{
    int32_t counts = shunt_counts(chip, raw);
    switch (chip) {
    case TD_INA219:
        return counts >= 32000 || counts <= -32000;     /* PGA /8: +-320 mV */
    case TD_INA226:
        return counts >= 32767 || counts <= -32768;
    case TD_INA228:
        return counts >= 524287 || counts <= -524288;
    default:
        return true;
    }
}

int64_t td_ina_na(int32_t shunt_nv, uint32_t shunt_uohm)
{
    return (int64_t)shunt_nv * 1000000 / (int64_t)shunt_uohm;
}
