#include "td_meter.h"

#include <stddef.h>
#include <string.h>

/* ---------------------------------------------------------------- out: TEXT*HH, HH the XOR of TEXT */
static uint8_t sum;

static void put(struct td_meter *meter, char c)
{
    sum ^= (uint8_t)c;
    meter->put(c);
}

static void put_text(struct td_meter *meter, const char *text)
{
    while (*text != '\0') {
        put(meter, *text++);
    }
}

static void put_number(struct td_meter *meter, const char *before, int64_t value)
{
    char digits[20];
    uint32_t count = 0;
    uint64_t left = value < 0 ? (uint64_t)-(value + 1) + 1u : (uint64_t)value;
    put_text(meter, before);
    if (value < 0) {
        put(meter, '-');
    }
    do {
        digits[count++] = (char)('0' + left % 10u);
        left /= 10u;
    } while (left > 0);
    while (count > 0) {
        put(meter, digits[--count]);
    }
}

static void put_end(struct td_meter *meter)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t check = sum;
    meter->put('*');
    meter->put(hex[check >> 4]);
    meter->put(hex[check & 15u]);
    meter->put('\r');
    meter->put('\n');
    sum = 0;
}

static void answer(struct td_meter *meter, const char *text)
{
    put_text(meter, text);
    put_end(meter);
}

/* ---------------------------------------------------------------- in: one command a line */
static bool number_of(const char *text, uint32_t *value)
{
    uint32_t found = 0;
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || found > 99999999u) {
            return false;
        }
        found = found * 10u + (uint32_t)(*text - '0');
    }
    *value = found;
    return true;
}

static void identify(struct td_meter *meter)
{
    put_number(meter, "meter protocol=", TD_METER_PROTOCOL);
    put_number(meter, " chip=ina", meter->ina->chip);
    put_number(meter, " shunt=", meter->shunt_uohm);
    put_number(meter, " period=", meter->ina->period_us);
    put_end(meter);
}

static void set_shunt(struct td_meter *meter, const char *text)
{
    uint32_t uohm = 0;
    if (meter->running || !number_of(text, &uohm) || uohm == 0) {
        answer(meter, "error shunt");
        return;
    }
    meter->shunt_uohm = uohm;
    put_number(meter, "ok shunt=", uohm);
    put_end(meter);
}

static void stop(struct td_meter *meter)
{
    meter->running = false;
    put_number(meter, "ok stop samples=", meter->samples);
    put_number(meter, " edges=", meter->edges);
    put_number(meter, " missed=", meter->missed);
    put_number(meter, " over=", meter->overrange);
    put_end(meter);
}

static void command(struct td_meter *meter)
{
    const char *line = meter->line;
    if (meter->ina == NULL) {
        answer(meter, "error chip");
    } else if (strcmp(line, "id") == 0) {
        identify(meter);
    } else if (strncmp(line, "shunt ", 6) == 0) {
        set_shunt(meter, line + 6);
    } else if (strcmp(line, "start") == 0) {
        meter->samples = 0;
        meter->edges = 0;
        meter->missed = 0;
        meter->overrange = 0;
        answer(meter, "ok start");
        meter->running = true;
    } else if (strcmp(line, "stop") == 0) {
        stop(meter);
    } else {
        answer(meter, "error command");
    }
}

void td_meter_byte(struct td_meter *meter, char c)
{
    if (c == '\n') {
        meter->line[meter->length < TD_METER_LINE ? meter->length : 0] = '\0';
        if (meter->length > 0) {
            command(meter);
        }
        meter->length = 0;
    } else if (c != '\r' && meter->length < TD_METER_LINE) {
        meter->line[meter->length++] = c;    /* what is longer is no command, and is refused */
    }
}

/* ---------------------------------------------------------------- what is measured */
void td_meter_init(struct td_meter *meter, const struct td_ina *ina, void (*output)(char c))
{
    memset(meter, 0, sizeof *meter);
    meter->ina = ina;
    meter->put = output;
    meter->shunt_uohm = TD_METER_SHUNT_UOHM;
}

void td_meter_sample(struct td_meter *meter, uint32_t us, uint32_t raw_shunt, uint32_t raw_bus)
{
    if (!meter->running) {
        return;
    }
    enum td_ina_chip chip = meter->ina->chip;
    if (td_ina_overrange(chip, raw_shunt)) {
        meter->overrange++;
    }
    put_number(meter, "s ", meter->samples++);
    put_number(meter, " ", us);
    put_number(meter, " ", td_ina_na(td_ina_shunt_nv(chip, raw_shunt), meter->shunt_uohm));
    put_number(meter, " ", td_ina_bus_uv(chip, raw_bus));
    put_end(meter);
}

void td_meter_edge(struct td_meter *meter, uint32_t us)
{
    if (meter->running) {
        put_number(meter, "e ", meter->edges++);
        put_number(meter, " ", us);
        put_end(meter);
    }
}

void td_meter_missed(struct td_meter *meter, uint32_t conversions)
{
    if (meter->running) {
        meter->missed += conversions;
    }
}
