/* layers.h: what each layer of a model took within a region, and which code it ran. */
#ifndef TD_LAYERS_H
#define TD_LAYERS_H
#include <stdio.h>

#include "cycles.h"
#include "insn.h"

struct td_totals {
    uint64_t classes[TD_CLASS_COUNT];
    uint64_t cycles[TD_ESTIMATES];
};

/* Instructions of one segment in each layer; `layers` is NULL until it runs in one. */
struct td_layer_runs {
    uint64_t *layers;
};

/* ---- totals */
void td_totals_add_between(struct td_totals *sum, const struct td_totals *from,
                           const struct td_totals *to);
/* " instructions=N [cycles...] CLASS=N... classified=N\n" */
void td_totals_print(FILE *out, uint64_t instructions, const struct td_totals *totals, bool cycles);

/* ---- layers: `address` and `bytes` are those of the firmware's td_profile_layers */
void td_layers_init(uint64_t address, uint64_t bytes);
void td_layers_begin(uint64_t executed, const struct td_totals *now);
void td_layers_mark(uint64_t executed, const struct td_totals *now);
void td_layers_end(uint64_t executed, const struct td_totals *now);
void td_layers_run(struct td_layer_runs *runs, uint64_t instructions);
void td_layers_store(unsigned int vcpu, uint32_t info, uint64_t address, void *userdata);
void td_layers_print(FILE *out, bool cycles);
void td_layers_print_runs(FILE *out, uint64_t address, const struct td_layer_runs *runs);

#endif
