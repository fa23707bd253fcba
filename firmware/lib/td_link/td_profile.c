/* td_profile.c: adds up what lies between marks. */
#include "td_profile.h"

#ifdef TD_PROFILE_LAYERS
#include <string.h>

#include "td_config.h"
#include "td_port.h"

struct td_profile_layer td_profile_layers[TD_PROFILE_LAYERS + 2u];

static uint32_t current = TD_PROFILE_NONE;
static uint32_t since;

void td_profile_clear(void)
{
    memset(td_profile_layers, 0, sizeof td_profile_layers);
    current = TD_PROFILE_NONE;
    since = td_port_timestamp_us();
}

/* An emulator's counter takes this function's address for the border between two layers, and the
 * address of the one store to `begun` for the layer that begins: see firmware/qemu/layers.c. */
void __attribute__((noinline)) td_profile_mark(uint32_t layer)
{
#if !TD_VIRTUAL_TIME
    uint32_t now = td_port_timestamp_us();
    td_profile_layers[current].us += now - since;
    since = now;
#endif
    current = layer;
    td_profile_layers[layer].begun++;
}

#endif
