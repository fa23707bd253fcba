#include "td_sha256.h"

#include "td_config.h"

#ifdef TD_LAYOUT
#include <string.h>

#define BLOCK_BYTES 64u
#define LENGTH_AT 56u       /* where the message's length stands in its last block */

/* Bits of the cube roots of the first 64 primes, behind the point. */
static const uint32_t round_constants[64] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
    0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
    0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
    0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
    0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
    0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
    0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u,
};

static uint32_t rotated(uint32_t x, uint32_t by)
{
    return x >> by | x << (32u - by);
}

static void put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 3; i >= 0; i--, value >>= 8) {
        to[i] = (uint8_t)value;
    }
}

/* One loop for all rounds and a schedule of 16 words: small rather than fast, which flash that is
 * being erased and a serial line do not notice. Words are read byte by byte: a block may stand
 * anywhere. */
static void take_block(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[16];
    uint32_t s[8];
    memcpy(s, state, sizeof s);
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t *now = &w[i % 16u];
        if (i < 16) {
            *now = 0;
            for (int byte = 0; byte < 4; byte++) {
                *now = *now << 8 | *block++;
            }
        } else {
            uint32_t a = w[(i + 1u) % 16u];
            uint32_t b = w[(i + 14u) % 16u];
            *now += w[(i + 9u) % 16u] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) +
                    (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
        }
        uint32_t t = s[7] + (rotated(s[4], 6) ^ rotated(s[4], 11) ^ rotated(s[4], 25)) +
                     (s[6] ^ (s[4] & (s[5] ^ s[6]))) + round_constants[i] + *now;
        uint32_t u = t + (rotated(s[0], 2) ^ rotated(s[0], 13) ^ rotated(s[0], 22)) +
                     ((s[0] & s[1]) | (s[2] & (s[0] | s[1])));
        for (uint32_t k = 7; k > 0; k--) {
            s[k] = s[k - 1u];
        }
        s[4] += t;
        s[0] = u;
    }
    for (uint32_t i = 0; i < 8; i++) {
        state[i] += s[i];
    }
}

void td_sha256(const void *data, uint32_t bytes, uint8_t digest[TD_SHA256_BYTES])
{
    uint32_t state[8] = {   /* of the square roots of the first eight primes */
        0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
        0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};
    uint8_t last[BLOCK_BYTES];
    const uint8_t *at = data;
    uint32_t left = bytes;
    for (; left >= BLOCK_BYTES; left -= BLOCK_BYTES, at += BLOCK_BYTES) {
        take_block(state, at);
    }
    memset(last, 0, sizeof last);
    memcpy(last, at, left);
    last[left] = 0x80u;
    if (left >= LENGTH_AT) {    /* no room for the length */
        take_block(state, last);
        memset(last, 0, sizeof last);
    }
    put_u32(&last[LENGTH_AT], bytes >> 29);
    put_u32(&last[LENGTH_AT + 4u], bytes << 3);
    take_block(state, last);
    for (uint32_t i = 0; i < 8; i++) {
        put_u32(&digest[4u * i], state[i]);
    }
}
#endif
