/* td_update.h: a model whose content can be exchanged, part by part of firmware built for it.
 *
 * Then td_build.h defines TD_LAYOUT, and the board's flash (td_port.h) holds, page by page:
 *   two pages of records, the slots A and B with one whole content each.
 * What is linked into the firmware is a third content, which is never written. The record with the
 * highest number says which content runs. A record is one write of TD_UPDATE_UNIT bytes with a CRC:
 * it is there or it is not, and so is what it says. Other firmware has none of this. */
#ifndef TD_UPDATE_H
#define TD_UPDATE_H
#include <stdbool.h>
#include <stdint.h>

#define TD_CONTENT_MAGIC 0x314d4454u    /* "TDM1" */

/* Flash is written in units that are written once after each erase, as flash with ECC demands. */
#define TD_UPDATE_UNIT 32u

#define TD_UPDATE_SLOT_BYTES(content) \
    (((content) + TD_PORT_FLASH_PAGE - 1u) / TD_PORT_FLASH_PAGE * TD_PORT_FLASH_PAGE)
#define TD_UPDATE_FLASH_BYTES(content) \
    (2u * TD_PORT_FLASH_PAGE + 2u * TD_UPDATE_SLOT_BYTES(content))

/* How every content begins. The layout is that of the code which can run it. */
struct td_content_header {
    uint32_t magic;
    uint32_t layout;
    uint32_t milli_q16;     /* of the first output, see td_config.h */
    int32_t zero_point;
    char build[65];         /* the build_id and the .tflite's sha256, as td id tells them */
    char model[65];
};

struct td_model_content;    /* the compiler writes it, the header is its first member */
extern const struct td_model_content td_weights_factory;
extern const uint32_t td_update_bytes;      /* of the whole content */

enum td_slot { TD_SLOT_A = 0, TD_SLOT_B = 1, TD_FACTORY = 2 };

enum td_update_state {
    TD_CONFIRMED = 1,   /* runs after every start */
    TD_COMMITTED = 2,   /* the next start is its trial */
    TD_TRIAL = 3        /* runs, and the next start goes back to the former one */
};

struct td_update_record {
    uint32_t number;
    uint32_t state;         /* enum td_update_state | slot << 8 | former slot << 16 */
    uint32_t crc;           /* of the slot's content */
    uint32_t former_crc;
    uint32_t layout;
    uint32_t factory_crc;
    uint32_t reserved;
    uint32_t check;         /* CRC-32 of all before */
};

/* Choose what runs: at every start, and after a commit. Then td_model_init() has to follow. */
void td_update_start(void);

const struct td_model_content *td_update_content(void);
const struct td_content_header *td_update_header(void);

/* All return 0 or a negative enum td_err, and may be repeated. */
int td_update_stage(uint32_t layout, uint32_t base_crc, uint32_t crc, const uint8_t sha256[32]);
int td_update_patch(uint32_t offset, const uint8_t *delta, uint32_t bytes);
int td_update_commit(uint32_t crc);
int td_update_confirm(uint32_t crc);
int td_update_revert(void);

struct td_update_status {
    enum td_update_state state;
    enum td_slot slot;
    uint32_t crc;           /* of the content that runs */
    uint32_t number;        /* of the last record, 0: none */
    bool staging;
    uint32_t delta_bytes;   /* received */
    uint32_t staged_bytes;  /* of content that they made */
};

struct td_update_status td_update_status(void);

/* Of the content that runs, computed anew from what memory holds. */
void td_update_sha256(uint8_t digest[32]);

#endif
