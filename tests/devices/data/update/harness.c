/* Flash whose power can be cut at every byte, around the firmware's own td_update.c. */
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "td_build.h"
#include "td_command.h"
#include "td_crc32.h"
#include "td_delta.h"
#include "td_port.h"
#include "td_sha256.h"

#define VERSIONS 6
#define PATCH 7

struct td_model_content {
    struct td_content_header header;
    uint8_t weights[61];
};

#define BYTES sizeof(struct td_model_content)

const struct td_model_content td_weights_factory = {
    .header = {TD_CONTENT_MAGIC, TD_LAYOUT, 0, 0, "0", "0"}, .weights = {1, 2, 3, 4, 5, 6, 7}};
const uint32_t td_update_bytes = BYTES;

enum mode { CLEAN_CUT, TORN_CUT, WORN_OUT };

static _Alignas(16) uint8_t flash[TD_PORT_FLASH_BYTES];
static struct td_model_content versions[VERSIONS];
static jmp_buf power_lost;
static long left = -1;      /* bytes until the cut, negative: none */
static long written;
static enum mode mode;
static uint32_t random_state;

static uint8_t any_bits(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (uint8_t)(random_state >> 24);
}

/* A byte of an erase or of a write: a cut may leave it half done. */
static int change(uint32_t at, uint8_t value)
{
    if (left == 0) {
        if (mode == WORN_OUT) {
            return -1;
        }
        if (mode == TORN_CUT) {
            uint8_t done = any_bits();
            flash[at] = (uint8_t)((flash[at] & ~done) | (value & done));
        }
        longjmp(power_lost, 1);
    }
    left -= left > 0;
    flash[at] = value;
    written++;
    return 0;
}

const uint8_t *td_port_flash(void)
{
    return flash;
}

int td_port_flash_erase(uint32_t offset)
{
    for (uint32_t i = 0; i < TD_PORT_FLASH_PAGE; i++) {
        if (change(offset + i, 0xff) != 0) {
            return -1;
        }
    }
    return 0;
}

int td_port_flash_program(uint32_t offset, const void *data, uint32_t bytes)
{
    const uint8_t *from = data;
    if (offset % TD_UPDATE_UNIT != 0 || bytes != TD_UPDATE_UNIT) {
        printf("a write that is no unit\n");
        abort();
    }
    for (uint32_t i = 0; i < bytes; i++) {
        if (flash[offset + i] != 0xff) {
            return -1;      /* written before: a unit takes one write */
        }
    }
    for (uint32_t i = 0; i < bytes; i++) {
        if (change(offset + i, from[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

static void make_versions(void)
{
    for (int v = 0; v < VERSIONS; v++) {
        versions[v] = td_weights_factory;
        for (size_t i = 0; v > 0 && i < sizeof versions[v].weights; i++) {
            versions[v].weights[i] = (uint8_t)((i + 3u) * (i + 7u) * (2u * (uint32_t)v + 1u) >> 2);
        }
    }
}

/* The version that runs, or -1 for a mixture. */
static int version_that_runs(void)
{
    for (int v = 0; v < VERSIONS; v++) {
        if (memcmp(td_update_content(), &versions[v], BYTES) == 0) {
            return v;
        }
    }
    return -1;
}

static uint32_t crc_of(int v)
{
    return td_crc32(TD_CRC32_START, &versions[v], BYTES);
}

static void hash_of(int v, uint8_t digest[TD_SHA256_BYTES])
{
    td_sha256(&versions[v], BYTES, digest);
}

/* COPY the header, SET the weights: both counts have two digits of the varint. */
static uint32_t make_delta(int v, uint8_t *delta)
{
    uint32_t head = offsetof(struct td_model_content, weights);
    uint32_t rest = (uint32_t)BYTES - head;
    uint32_t at = 0;
    delta[at++] = (uint8_t)(TD_COPY | (head & 31u) << 2 | 0x80u);
    delta[at++] = (uint8_t)(head >> 5);
    delta[at++] = (uint8_t)(TD_SET | (rest & 31u) << 2 | 0x80u);
    delta[at++] = (uint8_t)(rest >> 5);
    memcpy(delta + at, (const uint8_t *)&versions[v] + head, rest);
    return at + rest;
}

/* Announce a version by its CRC and a hash, and send it. */
static int announce_and_send(int to, const uint8_t hash[TD_SHA256_BYTES])
{
    uint8_t delta[BYTES + 8];
    uint32_t bytes = make_delta(to, delta);
    int error = td_update_stage(TD_LAYOUT, td_update_status().crc, crc_of(to), hash);
    for (uint32_t at = 0; error == 0 && at < bytes; at += PATCH) {
        error = td_update_patch(at, delta + at, bytes - at < PATCH ? bytes - at : PATCH);
    }
    return error;
}

/* One update as the host makes it. `asked` is set when the switch was asked for. */
static int update(int to, bool confirm, volatile int *asked)
{
    uint8_t hash[TD_SHA256_BYTES];
    hash_of(to, hash);
    int error = announce_and_send(to, hash);
    if (error == 0) {
        *asked = to;
        error = td_update_commit(crc_of(to));
    }
    return error == 0 && confirm ? td_update_confirm(crc_of(to)) : error;
}

/* An update whose content has the announced CRC and not the announced hash: 0 when it is refused
 * for that, or at once for flash that failed. */
static int try_wrong_hash(int to)
{
    uint8_t hash[TD_SHA256_BYTES];
    hash_of(to, hash);
    hash[to % (int)TD_SHA256_BYTES] ^= 0x10u;
    int error = announce_and_send(to, hash);
    return error != 0 || td_update_commit(crc_of(to)) == TD_ERR_CONTENT ? 0 : -1;
}

/* From one version to the next until the last; before each an attempt with another hash, which
 * must change nothing. -1 if the flash failed. */
static int update_all(volatile int *confirmed, volatile int *asked)
{
    for (int v = *confirmed + 1; v < VERSIONS; v++) {
        if (try_wrong_hash(v) != 0) {
            printf("a content of another hash was taken\n");
            abort();
        }
        if (update(v, true, asked) != 0) {
            return -1;
        }
        *confirmed = v;
    }
    return 0;
}

static bool restart(long until_cut)
{
    left = until_cut;
    if (setjmp(power_lost) != 0) {
        return false;
    }
    td_update_start();
    return true;
}

static long fail_at(long cut, const char *what)
{
    printf("cut after %ld bytes: %s\n", cut, what);
    return 1;
}

/* After a cut: also starts that are cut themselves end with a whole model, old or new; a start
 * more, and what was not confirmed is gone; and then all updates can be made to the end. */
static long check_after(long cut, int confirmed, int asked, long *starts)
{
    static uint8_t kept[sizeof flash];
    long failures = 0;
    volatile long again = 0;
    memcpy(kept, flash, sizeof kept);
    for (;;) {
        memcpy(flash, kept, sizeof kept);
        bool whole = restart(mode == WORN_OUT ? 0 : again);
        ++*starts;
        if (!whole) {
            restart(-1);
        }
        int v = version_that_runs();
        if (v < 0 || (v != confirmed && v != asked)) {
            failures += fail_at(cut, "neither the old model nor the new one");
        }
        if (whole) {
            break;
        }
        again++;
    }
    if (mode == WORN_OUT) {
        return failures;
    }
    restart(-1);
    restart(-1);
    int v = version_that_runs();
    if (td_update_status().state == TD_TRIAL || (v != confirmed && v != asked)) {
        failures += fail_at(cut, "what was not confirmed still runs");
    }
    volatile int next = v;
    volatile int ignored = v;
    if (update_all(&next, &ignored) != 0 || version_that_runs() != VERSIONS - 1) {
        failures += fail_at(cut, "no update is possible any more");
    }
    return failures;
}

/* Cut the power at every byte that a chain of updates erases or writes; the failures. */
long all_cuts(int how, long *points, long *starts)
{
    volatile long failures = 0;
    make_versions();
    mode = (enum mode)how;
    *points = *starts = 0;
    for (volatile long cut = 0;; cut++) {
        volatile int confirmed = 0;
        volatile int asked = 0;
        memset(flash, 0xff, sizeof flash);
        random_state = (uint32_t)cut;
        restart(-1);
        left = cut;
        volatile int done = -1;
        if (setjmp(power_lost) == 0) {
            done = update_all(&confirmed, &asked);
        }
        if (done == 0) {
            return version_that_runs() == VERSIONS - 1 ? failures : failures + 1;
        }
        ++*points;
        failures += check_after(cut, confirmed, asked, starts);
    }
}

/* ---------------------------------------------------------------- single steps */
void fresh(void)
{
    make_versions();
    memset(flash, 0xff, sizeof flash);
    restart(-1);
}

int running(void)
{
    return version_that_runs();
}

void power_cycle(void)
{
    restart(-1);
}

int update_to(int v, int confirm)
{
    volatile int asked = 0;
    left = -1;
    return update(v, confirm != 0, &asked);
}

int stage(uint32_t layout, int base, int to)
{
    uint8_t hash[TD_SHA256_BYTES];
    hash_of(to, hash);
    return td_update_stage(layout, crc_of(base), crc_of(to), hash);
}

int stage_announced(int base, uint32_t crc, const uint8_t *hash)
{
    return td_update_stage(TD_LAYOUT, crc_of(base), crc, hash);
}

int commit_crc(uint32_t crc)
{
    return td_update_commit(crc);
}

void running_hash(uint8_t *digest)
{
    td_update_sha256(digest);
}

int patch(uint32_t offset, const uint8_t *delta, uint32_t bytes)
{
    return td_update_patch(offset, delta, bytes);
}

int commit(int v)
{
    return td_update_commit(crc_of(v));
}

int confirm(int v)
{
    return td_update_confirm(crc_of(v));
}

int revert(void)
{
    return td_update_revert();
}

uint32_t version(int v, uint8_t *out)
{
    memcpy(out, &versions[v], BYTES);
    return (uint32_t)BYTES;
}

void flip(uint32_t at)
{
    flash[at] ^= 1u;
}

uint32_t delta_of(int v, uint8_t *delta)
{
    return make_delta(v, delta);
}

int apply(const uint8_t *base, uint32_t bytes, const uint8_t *delta, uint32_t length, uint8_t *out)
{
    struct td_delta d;
    uint8_t made;
    td_delta_start(&d, base, bytes);
    for (uint32_t i = 0; i < length; i++) {
        if (!td_delta_byte(&d, delta[i])) {
            return 0;
        }
        while (td_delta_next(&d, &made)) {
            if (d.made > bytes) {
                abort();
            }
            out[d.made - 1u] = made;
        }
    }
    return td_delta_done(&d);
}
