/* td_flash_in_ram.c: for boards without flash that a program can write (emulated ones): RAM stands
 * in for it, which forgets all when the power goes. */
#include "td_config.h"
#include "td_port.h"

#if defined(TD_LAYOUT) && defined(TD_FLASH_IN_RAM)
#include <string.h>

static _Alignas(16) uint8_t flash[TD_PORT_FLASH_BYTES];

const uint8_t *td_port_flash(void)
{
    static uint8_t is_there;
    if (!is_there) {
        memset(flash, 0xff, sizeof flash);
        is_there = 1;
    }
    return flash;
}

int td_port_flash_erase(uint32_t offset)
{
    memset(flash + offset, 0xff, TD_PORT_FLASH_PAGE);
    return 0;
}

int td_port_flash_program(uint32_t offset, const void *data, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        flash[offset + i] &= ((const uint8_t *)data)[i];
    }
    return 0;
}
#endif
