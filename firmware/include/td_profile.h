/* td_profile.h: where the time of an inference goes, layer by layer.
 * Only in firmware that is built for it: then td_build.h defines TD_PROFILE_LAYERS, the number of
 * the model's layers, and the engine says which layer it begins. Other firmware has none of it. */
#ifndef TD_PROFILE_H
#define TD_PROFILE_H
#include <stdint.h>
#include "td_build.h"

#ifdef TD_PROFILE_LAYERS

#ifdef __cplusplus
extern "C" {
#endif

/* Two more than layers: what belongs to none, and what a mark itself costs. */
#define TD_PROFILE_NONE TD_PROFILE_LAYERS
#define TD_PROFILE_MARK (TD_PROFILE_LAYERS + 1u)

struct td_profile_layer {
    uint32_t begun;     /* how often it was begun */
    uint32_t us;        /* modulo 2^32; 0 where an emulator counts */
};

/* Since the last td_profile_clear(). */
extern struct td_profile_layer td_profile_layers[TD_PROFILE_LAYERS + 2u];

void td_profile_clear(void);

/* From here on `layer` runs, until the next mark. */
void td_profile_mark(uint32_t layer);

#ifdef __cplusplus
}
#endif

#endif
#endif
