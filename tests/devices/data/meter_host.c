/* The helper board of firmware/meter as a process: its real protocol and conversion, with the
 * registers of a simulated chip.
 *
 * meter_host CHIP IDLE_RAW ACTIVE_RAW BUS_RAW PIN_FILE: speaks over stdin and stdout. Each byte that
 * somebody appends to PIN_FILE is an edge; between an odd edge and the next the current is ACTIVE. */
#define _POSIX_C_SOURCE 200809L
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "td_meter.h"

static uint32_t chip;

static bool read16(uint8_t address, uint16_t *value)
{
    *value = 0;
    if (chip == 228 && address == 0x3F) {
        *value = 0x2281;
    } else if (chip == 226 && address == 0xFF) {
        *value = 0x2260;
    } else if (chip == 219 && address == 0x00) {
        *value = 0x399F;
    } else if (chip == 219) {
        *value = 0xFFFF;
    }
    return chip != 0;
}

static void put(char c)
{
    putchar(c);
}

static uint32_t micros(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    /* Begins shortly before the 32-bit counter wraps. */
    return (uint32_t)((uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u);
}

int main(int argc, char **argv)
{
    struct td_meter meter;
    struct pollfd host = {.fd = STDIN_FILENO, .events = POLLIN};
    long seen = 0;
    if (argc != 6) {
        return 2;
    }
    chip = (uint32_t)strtoul(argv[1], NULL, 0);
    td_meter_init(&meter, td_ina_detect(read16), put);
    for (uint32_t start = micros();;) {
        uint32_t us = micros() - start - 200000u;   /* wraps after 0.2 s */
        struct stat pin;
        char c;
        if (poll(&host, 1, 1) > 0) {
            if (read(STDIN_FILENO, &c, 1) != 1) {
                return 0;
            }
            td_meter_byte(&meter, c);
        }
        while (stat(argv[5], &pin) == 0 && seen < pin.st_size) {
            seen++;
            td_meter_edge(&meter, us);
        }
        td_meter_sample(&meter, us, (uint32_t)strtoul(argv[2 + seen % 2], NULL, 0),
                        (uint32_t)strtoul(argv[4], NULL, 0));
        fflush(stdout);
    }
}
