/* td_update.c: contents in flash, the records that choose one, and the delta that makes a new one.
 *
 * What runs is never written: a new content is made in the other slot, and one record switches. */
#include "td_update.h"

#include "td_config.h"

#ifdef TD_LAYOUT
#include <string.h>

#include "td_command.h"
#include "td_crc32.h"
#include "td_delta.h"
#include "td_port.h"
#include "td_sha256.h"

#define RECORDS_A_PAGE (TD_PORT_FLASH_PAGE / TD_UPDATE_UNIT)
#define CHECKED_BYTES (sizeof(struct td_update_record) - sizeof(uint32_t))

_Static_assert(sizeof(struct td_update_record) == TD_UPDATE_UNIT, "a record is one unit");
_Static_assert(TD_PORT_FLASH_PAGE % TD_UPDATE_UNIT == 0, "a page holds whole units");

static struct td_update_record now;     /* what the last record says, or would say */
static enum td_slot running;            /* differs from it only where flash is damaged */
static uint32_t running_crc;

static struct {
    bool open;
    uint32_t slot;
    uint32_t crc;       /* that the content must have, and its hash */
    uint8_t sha256[TD_SHA256_BYTES];
    uint32_t received;  /* bytes of delta */
    struct td_delta delta;
    uint32_t filled;    /* bytes of the unit that is not written yet */
    uint8_t unit[TD_UPDATE_UNIT];
} staging;

/* ---------------------------------------------------------------- contents */
static uint32_t slot_offset(uint32_t slot)
{
    return 2u * TD_PORT_FLASH_PAGE + slot * TD_UPDATE_SLOT_BYTES(td_update_bytes);
}

static const uint8_t *content_of(uint32_t slot)
{
    return slot == TD_FACTORY ? (const uint8_t *)&td_weights_factory
                              : td_port_flash() + slot_offset(slot);
}

static uint32_t crc_of(uint32_t slot)
{
    return td_crc32(TD_CRC32_START, content_of(slot), td_update_bytes);
}

static bool is_content(uint32_t slot, uint32_t crc)
{
    struct td_content_header header;
    memcpy(&header, content_of(slot), sizeof header);
    return header.magic == TD_CONTENT_MAGIC && header.layout == TD_LAYOUT && crc_of(slot) == crc;
}

static void hash_of(uint32_t slot, uint8_t digest[TD_SHA256_BYTES])
{
    td_sha256(content_of(slot), td_update_bytes, digest);
}

const struct td_model_content *td_update_content(void)
{
    return (const void *)content_of(running);
}

const struct td_content_header *td_update_header(void)
{
    return (const void *)content_of(running);
}

/* ---------------------------------------------------------------- flash */
static bool write_unit(uint32_t offset, const void *unit)
{
    return td_port_flash_program(offset, unit, TD_UPDATE_UNIT) == 0 &&
           memcmp(td_port_flash() + offset, unit, TD_UPDATE_UNIT) == 0;
}

static bool is_blank(const uint8_t *unit)
{
    for (uint32_t i = 0; i < TD_UPDATE_UNIT; i++) {
        if (unit[i] != 0xffu) {
            return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------- records */
static uint32_t state_of(const struct td_update_record *r)
{
    return r->state & 0xffu;
}

static uint32_t slot_of(const struct td_update_record *r)
{
    return r->state >> 8 & 0xffu;
}

static uint32_t former_of(const struct td_update_record *r)
{
    return r->state >> 16 & 0xffu;
}

static uint32_t place_of(uint32_t index)
{
    return index * TD_UPDATE_UNIT;
}

static bool read_record(uint32_t index, struct td_update_record *r)
{
    memcpy(r, td_port_flash() + place_of(index), sizeof *r);
    return r->check == td_crc32(TD_CRC32_START, r, CHECKED_BYTES) && r->layout == TD_LAYOUT &&
           slot_of(r) <= TD_FACTORY && former_of(r) <= TD_FACTORY &&
           state_of(r) >= TD_CONFIRMED && state_of(r) <= TD_TRIAL;
}

/* The record with the highest number, and where it stands. */
static bool find_last(struct td_update_record *last, uint32_t *at)
{
    bool found = false;
    for (uint32_t i = 0; i < 2u * RECORDS_A_PAGE; i++) {
        struct td_update_record r;
        if (read_record(i, &r) && (!found || r.number > last->number)) {
            *last = r;
            *at = i;
            found = true;
        }
    }
    return found;
}

/* Behind all that stands in the last record's page, else in the other page, which is erased first:
 * all in it is older than the last record. */
static bool place_for_next(uint32_t *index)
{
    struct td_update_record last;
    uint32_t at = 0;
    find_last(&last, &at);
    uint32_t page = at / RECORDS_A_PAGE;
    uint32_t end = (page + 1u) * RECORDS_A_PAGE;
    *index = end;
    while (*index > page * RECORDS_A_PAGE &&
           is_blank(td_port_flash() + place_of(*index - 1u))) {
        (*index)--;
    }
    if (*index < end) {
        return true;
    }
    *index = (1u - page) * RECORDS_A_PAGE;
    return td_port_flash_erase(place_of(*index)) == 0;
}

static bool append(enum td_update_state state, uint32_t slot, uint32_t crc, uint32_t former,
                   uint32_t former_crc)
{
    struct td_update_record next = now;
    uint32_t index;
    next.number++;
    next.state = (uint32_t)state | slot << 8 | former << 16;
    next.crc = crc;
    next.former_crc = former_crc;
    next.check = td_crc32(TD_CRC32_START, &next, CHECKED_BYTES);
    if (!place_for_next(&index) || !write_unit(place_of(index), &next)) {
        return false;
    }
    now = next;
    return true;
}

/* ---------------------------------------------------------------- start */
static void run_slot(uint32_t slot, uint32_t crc)
{
    running = (enum td_slot)slot;
    running_crc = crc;
}

/* Whatever the flash holds, a whole content runs: the factory's in the end. */
void td_update_start(void)
{
    struct td_update_record last;
    uint32_t at;
    uint32_t factory_crc = crc_of(TD_FACTORY);
    staging.open = false;
    memset(&now, 0, sizeof now);
    now.state = TD_CONFIRMED | TD_FACTORY << 8 | TD_FACTORY << 16;
    now.crc = now.former_crc = now.factory_crc = factory_crc;
    now.layout = TD_LAYOUT;
    if (find_last(&last, &at)) {
        now.number = last.number;
        if (last.factory_crc == factory_crc) {  /* else other firmware was flashed since */
            now = last;
        }
    }
    bool tried = state_of(&now) == TD_TRIAL;
    if (state_of(&now) == TD_COMMITTED) {
        tried = !is_content(slot_of(&now), now.crc) ||
                !append(TD_TRIAL, slot_of(&now), now.crc, former_of(&now), now.former_crc);
    }
    if (tried) {    /* where even that cannot be written, the next start tries again */
        uint32_t former = former_of(&now);
        uint32_t former_crc = now.former_crc;
        (void)append(TD_CONFIRMED, former, former_crc, former, former_crc);
        run_slot(former, former_crc);
    } else {
        run_slot(slot_of(&now), now.crc);
    }
    if (running != TD_FACTORY && !is_content(running, running_crc)) {
        run_slot(TD_FACTORY, factory_crc);
    }
}

/* ---------------------------------------------------------------- staging */
static bool on_trial(void)
{
    return state_of(&now) == TD_TRIAL && running == slot_of(&now);
}

int td_update_stage(uint32_t layout, uint32_t base_crc, uint32_t crc, const uint8_t sha256[32])
{
    if (layout != TD_LAYOUT) {
        return TD_ERR_GRAPH;
    }
    if (base_crc != running_crc || crc_of(running) != running_crc) {
        return TD_ERR_BASE;
    }
    if (on_trial()) {
        return TD_ERR_STATE;
    }
    staging.open = false;
    staging.slot = running == TD_SLOT_A ? TD_SLOT_B : TD_SLOT_A;
    staging.crc = crc;
    memcpy(staging.sha256, sha256, TD_SHA256_BYTES);
    staging.received = 0;
    staging.filled = 0;
    td_delta_start(&staging.delta, content_of(running), td_update_bytes);
    uint32_t end = slot_offset(staging.slot) + TD_UPDATE_SLOT_BYTES(td_update_bytes);
    for (uint32_t at = slot_offset(staging.slot); at < end; at += TD_PORT_FLASH_PAGE) {
        if (td_port_flash_erase(at) != 0) {
            return TD_ERR_FLASH;
        }
    }
    staging.open = true;
    return 0;
}

static bool write_staged(void)
{
    uint32_t offset = staging.delta.made - staging.filled;
    memset(staging.unit + staging.filled, 0xff, TD_UPDATE_UNIT - staging.filled);
    staging.filled = 0;
    return write_unit(slot_offset(staging.slot) + offset, staging.unit);
}

static int take(uint8_t byte)
{
    uint8_t made;
    if (!td_delta_byte(&staging.delta, byte)) {
        return TD_ERR_RANGE;
    }
    while (td_delta_next(&staging.delta, &made)) {
        staging.unit[staging.filled++] = made;
        bool full = staging.filled == TD_UPDATE_UNIT || staging.delta.made == td_update_bytes;
        if (full && !write_staged()) {
            return TD_ERR_FLASH;
        }
    }
    return 0;
}

int td_update_patch(uint32_t offset, const uint8_t *delta, uint32_t bytes)
{
    if (!staging.open || offset > staging.received) {
        return TD_ERR_INPUT;
    }
    if (offset < staging.received) {    /* a repetition, whole or not at all */
        return bytes <= staging.received - offset ? 0 : TD_ERR_INPUT;
    }
    for (uint32_t i = 0; i < bytes; i++) {
        int error = take(delta[i]);
        if (error != 0) {
            staging.open = false;
            return error;
        }
    }
    staging.received += bytes;
    return 0;
}

/* ---------------------------------------------------------------- the switch and behind */
/* Read back whole, from flash. The hash says that it is what the host announced; the CRC, which the
 * record keeps, is what later starts compare to find damage. */
static bool is_as_announced(void)
{
    uint8_t digest[TD_SHA256_BYTES];
    hash_of(staging.slot, digest);
    return memcmp(digest, staging.sha256, TD_SHA256_BYTES) == 0 &&
           is_content(staging.slot, staging.crc);
}

int td_update_commit(uint32_t crc)
{
    if (on_trial() && running_crc == crc) {
        return 0;   /* a repetition */
    }
    if (!staging.open || staging.crc != crc) {
        return TD_ERR_INPUT;
    }
    staging.open = false;
    if (!td_delta_done(&staging.delta) || !is_as_announced()) {
        return TD_ERR_CONTENT;
    }
    if (!append(TD_COMMITTED, staging.slot, crc, running, running_crc)) {
        return TD_ERR_FLASH;
    }
    td_update_start();
    return on_trial() ? 0 : TD_ERR_FLASH;
}

int td_update_confirm(uint32_t crc)
{
    if (running_crc != crc) {
        return TD_ERR_BASE;
    }
    if (!on_trial()) {
        return 0;
    }
    bool written = append(TD_CONFIRMED, running, running_crc, former_of(&now), now.former_crc);
    return written ? 0 : TD_ERR_FLASH;
}

/* A trial's next start goes back by itself. */
int td_update_revert(void)
{
    if (on_trial()) {
        td_update_start();
    }
    return 0;
}

struct td_update_status td_update_status(void)
{
    struct td_update_status s = {
        on_trial() ? TD_TRIAL : TD_CONFIRMED, running,          running_crc, now.number,
        staging.open,                         staging.received, staging.delta.made,
    };
    return s;
}

void td_update_sha256(uint8_t digest[32])
{
    hash_of(running, digest);
}
#endif
