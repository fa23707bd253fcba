/* native_flash.h: a part of native.c: flash in the file that the variable TD_NATIVE_FLASH names, or
 * in memory without one. What a write has changed is in the file when the next one begins: a killed
 * process is a power cut. TD_NATIVE_CUT=N kills the process in the middle, when N bytes have been
 * erased or programmed. */
#include <fcntl.h>
#include <sys/mman.h>

#include "td_update.h"

static uint8_t *flash;
static long long flash_until_cut = -1;

static void open_flash(void)
{
    static uint8_t memory[TD_PORT_FLASH_BYTES];
    const char *path = getenv("TD_NATIVE_FLASH");
    const char *cut = getenv("TD_NATIVE_CUT");
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    off_t size = 0;
    flash = memory;
    if (cut != NULL) {
        flash_until_cut = strtoll(cut, NULL, 10);
    }
    if (path != NULL) {
        int file = open(path, O_RDWR | O_CREAT, 0644);
        if (file < 0 || fcntl(file, F_SETLKW, &whole) != 0) {
            fail("TD_NATIVE_FLASH: the file cannot be opened");
        }
        size = lseek(file, 0, SEEK_END);
        if (size < (off_t)TD_PORT_FLASH_BYTES && ftruncate(file, TD_PORT_FLASH_BYTES) != 0) {
            fail("TD_NATIVE_FLASH: the file cannot be made long enough");
        }
        flash = mmap(NULL, TD_PORT_FLASH_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (flash == MAP_FAILED) {
            fail("no memory for the flash");
        }
    }
    if (size < (off_t)TD_PORT_FLASH_BYTES) {
        memset(flash + size, 0xff, (size_t)TD_PORT_FLASH_BYTES - (size_t)size);
    }
}

static void change_flash(uint32_t at, uint8_t value)
{
    if (flash_until_cut >= 0 && flash_until_cut-- == 0) {
        raise(SIGKILL);
    }
    *(volatile uint8_t *)&flash[at] = value;
}

const uint8_t *td_port_flash(void)
{
    return flash;
}

int td_port_flash_erase(uint32_t offset)
{
    if (offset % TD_PORT_FLASH_PAGE != 0 || offset >= TD_PORT_FLASH_BYTES) {
        return -1;
    }
    for (uint32_t i = 0; i < TD_PORT_FLASH_PAGE; i++) {
        change_flash(offset + i, 0xff);
    }
    return 0;
}

/* Strict: flash with ECC takes a unit once, and all flash clears bits only. */
int td_port_flash_program(uint32_t offset, const void *data, uint32_t bytes)
{
    const uint8_t *from = data;
    if (offset % TD_UPDATE_UNIT != 0 || bytes != TD_UPDATE_UNIT ||
        offset > TD_PORT_FLASH_BYTES - TD_UPDATE_UNIT) {
        return -1;
    }
    for (uint32_t i = 0; i < bytes; i++) {
        if (flash[offset + i] != 0xff) {
            return -1;
        }
    }
    for (uint32_t i = 0; i < bytes; i++) {
        change_flash(offset + i, from[i]);
    }
    return 0;
}
