/* td_crc16.h: CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xFFFF, not reflected, no final XOR.
 * The check value of "123456789" is 0x29B1. */
#ifndef TD_CRC16_H
#define TD_CRC16_H
#include <stdint.h>

#define TD_CRC16_START 0xFFFFu

uint16_t td_crc16_byte(uint16_t crc, uint8_t byte);
uint16_t td_crc16(uint16_t crc, const void *data, uint32_t bytes);

#endif
