#include "td_delta.h"

#include "td_config.h"

#ifdef TD_LAYOUT
#define FIRST_BITS 5u

void td_delta_start(struct td_delta *d, const uint8_t *base, uint32_t bytes)
{
    *d = (struct td_delta){.base = base, .bytes = bytes};
}

static uint8_t bytes_held(uint8_t kind)
{
    return kind == TD_SET ? 1u : kind == TD_ADD4 ? 2u : 4u;
}

static bool take_count(struct td_delta *d, uint32_t bits, bool more)
{
    if (d->shift > 26u) {
        return false;
    }
    d->left |= bits << d->shift;
    d->shift += d->shift == 0 ? FIRST_BITS : 7u;
    d->counting = more;
    if (more) {
        return true;
    }
    d->shift = 0;
    return d->left > 0 && d->left <= d->bytes - d->made;
}

bool td_delta_byte(struct td_delta *d, uint8_t byte)
{
    if (d->counting) {
        return take_count(d, byte & 0x7fu, (byte & 0x80u) != 0);
    }
    if (d->left == 0) {
        d->kind = byte & 3u;
        return take_count(d, byte >> 2 & 0x1fu, (byte & 0x80u) != 0);
    }
    d->data = byte;
    d->held = bytes_held(d->kind);
    return true;
}

static uint8_t added(struct td_delta *d)
{
    uint8_t bits = d->kind == TD_ADD4 ? 4u : 2u;
    uint8_t sign = (uint8_t)(1u << (bits - 1u));
    uint8_t value = d->data & (uint8_t)((1u << bits) - 1u);
    d->data = (uint8_t)(d->data >> bits);
    return (uint8_t)((value ^ sign) - sign);
}

bool td_delta_next(struct td_delta *d, uint8_t *made)
{
    if (d->counting || d->left == 0 || (d->kind != TD_COPY && d->held == 0)) {
        return false;
    }
    if (d->kind == TD_SET) {
        *made = d->data;
    } else {
        *made = (uint8_t)(d->base[d->made] + (d->kind == TD_COPY ? 0u : added(d)));
    }
    d->made++;
    d->left--;
    d->held = d->kind == TD_COPY || d->left == 0 ? 0u : (uint8_t)(d->held - 1u);
    return true;
}

bool td_delta_done(const struct td_delta *d)
{
    return d->made == d->bytes && d->left == 0 && !d->counting;
}
#endif
