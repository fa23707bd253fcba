#include "td_crc32.h"

/* Bit by bit: a table of half bytes takes 64 bytes of flash and saves 20 cycles a byte, which no
 * serial line notices. */
uint32_t td_crc32(uint32_t crc, const void *data, uint32_t bytes)
{
    const uint8_t *p = data;
    crc = ~crc;
    while (bytes-- > 0) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}
