/* The hash on an emulated core, told by semihosting: of the first 0, 1, 2 ... bytes of a pattern,
 * each once aligned and once not. */
#include "td_sha256.h"

#define LONGEST 200u

extern void start(void);
static uint8_t pattern[LONGEST + 1u];

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t stack;
    void (*reset)(void);
} vectors = {0x20010000u, start};

static void semihost(uint32_t call, const void *argument)
{
    register uint32_t r0 __asm__("r0") = call;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

static void tell(const uint8_t digest[TD_SHA256_BYTES])
{
    char line[2u * TD_SHA256_BYTES + 2u];
    char *at = line;
    for (uint32_t i = 0; i < 2u * TD_SHA256_BYTES; i++) {
        uint32_t digit = digest[i / 2u] >> (i % 2u ? 0 : 4) & 15u;
        *at++ = (char)(digit < 10 ? '0' + digit : 'a' + digit - 10);
    }
    *at++ = '\n';
    *at = 0;
    semihost(4, line);
}

void start(void)
{
    uint8_t digest[TD_SHA256_BYTES];
    for (uint32_t bytes = 0; bytes <= LONGEST; bytes++) {
        for (uint32_t shift = 0; shift < 2; shift++) {
            for (uint32_t i = 0; i < bytes; i++) {
                pattern[i + shift] = (uint8_t)(i * i + bytes);
            }
            td_sha256(pattern + shift, bytes, digest);
            tell(digest);
        }
    }
    semihost(0x18, (const void *)0x20026u);     /* the program ends */
    for (;;) {
    }
}
