/* td_crc32.h: the CRC-32 of Ethernet, zip and zlib: polynomial 0x04C11DB7, reflected, start and
 * final XOR 0xFFFFFFFF. The check value of "123456789" is 0xCBF43926. */
#ifndef TD_CRC32_H
#define TD_CRC32_H
#include <stdint.h>

#define TD_CRC32_START 0u   /* of no bytes at all */

/* The CRC of what `crc` is that of, and `bytes` more. */
uint32_t td_crc32(uint32_t crc, const void *data, uint32_t bytes);

#endif
