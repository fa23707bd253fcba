/* td_sha256.h: SHA-256 (FIPS 180-4) of bytes that lie in one piece. Only updatable firmware has it. */
#ifndef TD_SHA256_H
#define TD_SHA256_H
#include <stdint.h>

#define TD_SHA256_BYTES 32u

void td_sha256(const void *data, uint32_t bytes, uint8_t digest[TD_SHA256_BYTES]);

#endif
