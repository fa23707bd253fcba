/* td_ina.h: TI's current monitors INA219, INA226 and INA228: registers and conversion, no I/O.
 *
 * Figures are those of the data sheets SBOS448 (INA219), SBOS547 (INA226) and SLYS021 (INA228). Only
 * shunt and bus voltage are read; current follows from the shunt's resistance, so that no
 * calibration register rounds it. */
#ifndef TD_INA_H
#define TD_INA_H
#include <stdbool.h>
#include <stdint.h>

enum td_ina_chip { TD_INA_NONE = 0, TD_INA219 = 219, TD_INA226 = 226, TD_INA228 = 228 };

/* A register: its address and how many bytes it has (big-endian on the bus). */
struct td_ina_register {
    uint8_t address;
    uint8_t bytes;
};

/* A value to write after start. */
struct td_ina_setup {
    uint8_t address;
    uint16_t value;
};

struct td_ina {
    enum td_ina_chip chip;
    struct td_ina_setup setup[2];       /* all of them have to be written; the second may repeat */
    struct td_ina_register shunt;
    struct td_ina_register bus;
    struct td_ina_register ready;       /* holds `ready_mask` when a conversion has ended */
    uint16_t ready_mask;
    uint16_t period_us;                 /* from one conversion to the next */
};

/* Reads a 16-bit register of the chip; false when nobody answers. */
typedef bool (*td_ina_read16)(uint8_t address, uint16_t *value);

/* Which chip it is; NULL where none answers. */
const struct td_ina *td_ina_detect(td_ina_read16 read);
const struct td_ina *td_ina_of(enum td_ina_chip chip);

/* Raw registers, right-aligned as they were read, to nanovolts and microvolts. */
int32_t td_ina_shunt_nv(enum td_ina_chip chip, uint32_t raw);
int32_t td_ina_bus_uv(enum td_ina_chip chip, uint32_t raw);

/* The shunt's voltage stands at the end of its range: the current is not known. */
bool td_ina_overrange(enum td_ina_chip chip, uint32_t raw);

/* Nanoamperes through a shunt of `shunt_uohm` microohms. */
int64_t td_ina_na(int32_t shunt_nv, uint32_t shunt_uohm);

#endif
