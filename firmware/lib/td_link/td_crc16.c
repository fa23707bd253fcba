#include "td_crc16.h"

/* Without a table: 512 bytes of flash are much on a small board. The shifts do in one step what
 * eight steps of the bitwise form do, because 0x1021 has so few terms. */
uint16_t td_crc16_byte(uint16_t crc, uint8_t byte)
{
    uint32_t x = (uint32_t)(crc >> 8) ^ byte;
    x ^= x >> 4;
    return (uint16_t)(((uint32_t)crc << 8) ^ (x << 12) ^ (x << 5) ^ x);
}

uint16_t td_crc16(uint16_t crc, const void *data, uint32_t bytes)
{
    const uint8_t *p = data;
    while (bytes-- > 0) {
        crc = td_crc16_byte(crc, *p++);
    }
    return crc;
}
