/* layers.c: splits a region at the calls of td_profile_mark.
 *
 * A call closes the layer before it. Which one begins is not in an argument that a plugin could
 * read: the function counts it in td_profile_layers, and the address of that store says which. */
#include "layers.h"

#include <stdlib.h>
#include <string.h>

#define ENTRY_BYTES 8u      /* struct td_profile_layer: begun, us */

struct layer {
    uint64_t begun;
    uint64_t instructions;
    struct td_totals totals;
};

static struct {
    uint64_t address;
    uint64_t count;         /* 0 without a profile; the last but one is "none" */
    struct layer *layers;
    uint64_t current;
    uint64_t executed;      /* at the last mark */
    struct td_totals totals;
    bool open;
} profile;

void td_totals_add_between(struct td_totals *sum, const struct td_totals *from,
                           const struct td_totals *to)
{
    for (int i = 0; i < TD_CLASS_COUNT; i++) {
        sum->classes[i] += to->classes[i] - from->classes[i];
    }
    for (int k = 0; k < TD_ESTIMATES; k++) {
        sum->cycles[k] += to->cycles[k] - from->cycles[k];
    }
}

void td_totals_print(FILE *out, uint64_t instructions, const struct td_totals *totals, bool cycles)
{
    static const char *const names[TD_ESTIMATES] = {
        [TD_LOW] = "cycles_low", [TD_MODEL] = "cycles", [TD_HIGH] = "cycles_high"};
    uint64_t classified = 0;
    fprintf(out, " instructions=%llu", (unsigned long long)instructions);
    for (int k = 0; k < TD_ESTIMATES && cycles; k++) {
        fprintf(out, " %s=%llu", names[k], (unsigned long long)totals->cycles[k]);
    }
    for (int i = 0; i < TD_CLASS_COUNT; i++) {
        classified += totals->classes[i];
        fprintf(out, " %s=%llu", td_class_names[i], (unsigned long long)totals->classes[i]);
    }
    /* Counter and decoder are independent of each other: they have to agree. */
    fprintf(out, " classified=%llu\n", (unsigned long long)classified);
}

void td_layers_init(uint64_t address, uint64_t bytes)
{
    profile.address = address;
    profile.count = bytes / ENTRY_BYTES;
    profile.layers = calloc(profile.count + 1u, sizeof *profile.layers);
    if (profile.layers == NULL) {
        fprintf(stderr, "tdcount: out of memory\n");
        exit(1);
    }
}

static void close_layer(uint64_t executed, const struct td_totals *now)
{
    struct layer *layer = &profile.layers[profile.current];
    layer->instructions += executed - profile.executed;
    td_totals_add_between(&layer->totals, &profile.totals, now);
    profile.executed = executed;
    profile.totals = *now;
}

void td_layers_begin(uint64_t executed, const struct td_totals *now)
{
    if (profile.count < 2) {
        return;
    }
    memset(profile.layers, 0, profile.count * sizeof *profile.layers);
    profile.open = true;
    profile.current = profile.count - 2u;
    profile.executed = executed;
    profile.totals = *now;
}

void td_layers_mark(uint64_t executed, const struct td_totals *now)
{
    if (profile.open) {
        close_layer(executed, now);
    }
}

void td_layers_end(uint64_t executed, const struct td_totals *now)
{
    td_layers_mark(executed, now);
    profile.open = false;
}

void td_layers_store(unsigned int vcpu, uint32_t info, uint64_t address, void *userdata)
{
    uint64_t index = (address - profile.address) / ENTRY_BYTES;
    (void)vcpu;
    (void)info;
    (void)userdata;
    if (profile.open && address >= profile.address && index < profile.count &&
        (address - profile.address) % ENTRY_BYTES == 0) {
        profile.current = index;
        profile.layers[index].begun++;
    }
}

void td_layers_run(struct td_layer_runs *runs, uint64_t instructions)
{
    if (!profile.open) {
        return;
    }
    if (runs->layers == NULL) {
        runs->layers = calloc(profile.count, sizeof *runs->layers);
    }
    if (runs->layers != NULL) {
        runs->layers[profile.current] += instructions;
    }
}

void td_layers_print(FILE *out, bool cycles)
{
    for (uint64_t i = 0; i < profile.count; i++) {
        struct layer *layer = &profile.layers[i];
        if (layer->begun > 0 || layer->instructions > 0) {
            fprintf(out, "layer=%llu begun=%llu", (unsigned long long)i,
                    (unsigned long long)layer->begun);
            td_totals_print(out, layer->instructions, &layer->totals, cycles);
        }
    }
}

void td_layers_print_runs(FILE *out, uint64_t address, const struct td_layer_runs *runs)
{
    for (uint64_t i = 0; i < profile.count && runs->layers != NULL; i++) {
        if (runs->layers[i] > 0) {
            fprintf(out, "code=%llu layer=%llu instructions=%llu\n", (unsigned long long)address,
                    (unsigned long long)i, (unsigned long long)runs->layers[i]);
        }
    }
}
