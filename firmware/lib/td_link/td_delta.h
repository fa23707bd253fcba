/* td_delta.h: makes a new content from the one that runs and a delta, byte by byte.
 *
 * Both contents have the same layout, so that a byte of one stands where it stands in the other. A
 * delta is a list of steps, each a kind and a count, then what the kind needs for count bytes:
 *   COPY  nothing: the bytes stay
 *   SET   the bytes themselves
 *   ADD4  four bits a byte, the low half first: what is added, -8 to 7
 *   ADD2  two bits a byte, the lowest first: what is added, -2 to 1
 * The first byte has the kind in bits 0 and 1, five bits of the count above, and bit 7 set when
 * more of the count follows, seven bits a byte, bit 7 likewise. */
#ifndef TD_DELTA_H
#define TD_DELTA_H
#include <stdbool.h>
#include <stdint.h>

enum td_delta_kind { TD_COPY = 0, TD_SET = 1, TD_ADD4 = 2, TD_ADD2 = 3 };

struct td_delta {
    const uint8_t *base;
    uint32_t bytes;     /* of the content */
    uint32_t made;      /* bytes of it so far */
    uint32_t left;      /* of this step */
    uint32_t shift;     /* of the count's next bits; 0: a step has to begin */
    bool counting;      /* more of the count follows */
    uint8_t kind;
    uint8_t data;       /* the last byte of what the kind needs */
    uint8_t held;       /* how many bytes of content it still gives */
};

void td_delta_start(struct td_delta *d, const uint8_t *base, uint32_t bytes);

/* Take a byte of the delta, after td_delta_next() has given all that there is. False for a delta
 * that makes no sense: nothing of it can be used. */
bool td_delta_byte(struct td_delta *d, uint8_t byte);

/* The next byte of the content, false when a byte of the delta is needed first. */
bool td_delta_next(struct td_delta *d, uint8_t *made);

bool td_delta_done(const struct td_delta *d);   /* whole, and at the end of a step */

#endif
