/* fuzz_link.c: mutated command streams into the firmware's parser, in one process.
 *
 *   fuzz_link SECONDS SEED NEW_SEEDS_FOLDER SEED_FILE...
 *
 * With 0 seconds it runs the files alone, as they are. A case that finds a new edge of the code
 * (-fsanitize-coverage=trace-pc) is mutated further, and kept as a file if a folder is named ("-":
 * none). After each case the firmware must still answer: a `mem` command, with the right number.
 * A finding is written to crash.bin and ends the program. The sanitizers do the rest.
 *
 * Commands carry a CRC that no mutation would hit: half of the cases get theirs set right. */
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "td_command.h"
#include "td_config.h"
#include "td_crc32.h"
#include "td_link.h"
#include "td_model.h"
#include "td_port.h"

#define CASE_BYTES 4096
#define CORPUS 4096
#define MAX_INVOKES 64      /* a case may ask for 4,294,967,295 */

struct sample {
    uint8_t *bytes;
    size_t length;
};

static struct sample corpus[CORPUS];
static size_t corpus_length;
static uint8_t now[CASE_BYTES];
static size_t now_length;

/* ---------------------------------------------------------------- the model */
static int8_t input[100] __attribute__((aligned(16)));
static float input2[2] __attribute__((aligned(16)));
static int8_t output[100] __attribute__((aligned(16)));
static int16_t output2[3] __attribute__((aligned(16)));
static uint32_t invokes;
static jmp_buf enough;

const struct td_io td_model_inputs[] = {{input, sizeof input, TD_INT8},
                                        {input2, sizeof input2, TD_FLOAT32}};
const struct td_io td_model_outputs[] = {{output, sizeof output, TD_INT8},
                                         {output2, sizeof output2, TD_INT16}};
const uint8_t td_model_input_count = 2;
const uint8_t td_model_output_count = 2;
const uint32_t td_model_arena_bytes = 216;

void td_model_init(void)
{
}

void td_model_invoke(void)
{
    if (++invokes > MAX_INVOKES) {
        longjmp(enough, 1);
    }
    memcpy(output, input, sizeof output);
    memset(input, 0x55, sizeof input);
}

/* ---------------------------------------------------------------- the board */
static char said[1 << 16];      /* the end of what the firmware says */
static size_t said_length;
static size_t not_printable;

void td_port_init(void)
{
}

int td_port_getc(void)
{
    return -1;
}

void td_port_putc(uint8_t byte)
{
    if (said_length == sizeof said) {
        memmove(said, said + sizeof said / 2, sizeof said / 2);
        said_length = sizeof said / 2;
    }
    said[said_length++] = (char)byte;
    not_printable += !(byte == '\r' || byte == '\n' || (byte >= ' ' && byte <= '~'));
}

uint32_t td_port_timestamp_us(void)
{
    static uint32_t us;
    return us += 1000;
}

uint32_t td_stack_reserved(void)
{
    return 0;
}

uint32_t td_stack_high_water(void)
{
    return 0;
}

void td_mark_begin(void)
{
}

void td_mark_end(void)
{
}

/* ---------------------------------------------------------------- coverage */
static uint8_t edges[1 << 16];
static uint32_t found_edges;
static uint32_t new_edges;
static uintptr_t before;

void __sanitizer_cov_trace_pc(void);
void __attribute__((no_sanitize("address", "undefined"))) __sanitizer_cov_trace_pc(void)
{
    uintptr_t here = (uintptr_t)__builtin_return_address(0);
    uint8_t *edge = &edges[((here >> 1 ^ here << 7) ^ before) & (sizeof edges - 1)];
    before = here << 3;
    if (*edge == 0) {
        *edge = 1;
        found_edges++;
        new_edges++;
    }
}

/* ---------------------------------------------------------------- one case */
static void finding(const char *what)
{
    FILE *file = fopen("crash.bin", "wb");
    if (file != NULL) {
        fwrite(now, 1, now_length, file);
        fclose(file);
    }
    fprintf(stderr, "finding: %s, %zu bytes in crash.bin\n", what, now_length);
    abort();
}

static void feed(const void *data, size_t length)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < length; i++) {
        td_link_byte(bytes[i]);
    }
}

static void run_case(void)
{
    static uint32_t number;
    char ask[64];
    char answer[64];
    invokes = 0;
    new_edges = 0;
    if (setjmp(enough) == 0) {
        feed(now, now_length);
        td_link_byte('%');
    } else {
        /* The line still holds the command that was cut off: make it too long to run again. */
        for (uint32_t i = 0; i <= TD_LINE_BYTES; i++) {
            td_link_byte('x');
        }
        td_link_byte('%');
    }
    invokes = 0;
    if (setjmp(enough) != 0) {
        finding("inferences without a command");
    }
    said_length = 0;
    number = number % 65535u + 1u;
    snprintf(ask, sizeof ask, "td %u mem", (unsigned)number);
    snprintf(ask + strlen(ask), 16, " %08x%%", (unsigned)td_crc32(0, ask, (uint32_t)strlen(ask)));
    feed(ask, strlen(ask));
    snprintf(answer, sizeof answer, "td %u ok arena=216 input=108 stack=0 used=0", (unsigned)number);
    snprintf(answer + strlen(answer), 16, " %08x\r\n",
             (unsigned)td_crc32(0, answer, (uint32_t)strlen(answer)));
    if (said_length != strlen(answer) || memcmp(said, answer, said_length) != 0) {
        finding("the next command is not understood");
    }
    if (not_printable > 0) {
        finding("bytes that a terminal would choke on");
    }
}

/* ---------------------------------------------------------------- mutations */
static uint64_t random_state;

static uint32_t random_below(uint32_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 20) % limit);
}

static void insert(size_t at, const void *bytes, size_t length)
{
    if (now_length + length > sizeof now) {
        return;
    }
    memmove(now + at + length, now + at, now_length - at);
    memcpy(now + at, bytes, length);
    now_length += length;
}

static void erase(size_t at, size_t length)
{
    length = length > now_length - at ? now_length - at : length;
    memmove(now + at, now + at + length, now_length - at - length);
    now_length -= length;
}

static void mutate(void)
{
    static const char *const words[] = {
        "%", " ", "=", "td ", "td 1 id", "load ", "infer ", "out ", "crc", "reset", "counters", "mem",
        "name%", "db load 108%", "db ", "db print%", "infer 1 0%", "results%", "timestamp%", "profile%",
        "help%", "4294967295", "4294967296", "65535", "65536", "-1", "0", "108", "\r\n", "=%", "00ff"};
    const char *word;
    uint8_t byte = (uint8_t)random_below(256);
    size_t at = random_below((uint32_t)now_length + 1u);
    struct sample *other;
    switch (random_below(8)) {
    case 0:
        if (at < now_length) {
            now[at] ^= (uint8_t)(1u << random_below(8));
        }
        break;
    case 1:
        if (at < now_length) {
            now[at] = byte;
        }
        break;
    case 2:
        erase(at, 1u + random_below(8));
        break;
    case 3:
        insert(at, &byte, 1);
        break;
    case 4:
        word = words[random_below(sizeof words / sizeof words[0])];
        insert(at, word, strlen(word));
        break;
    case 5:
        erase(at, 1u + random_below(200));
        break;
    case 6:
        other = &corpus[random_below((uint32_t)corpus_length)];
        insert(at, other->bytes, other->length);
        break;
    default:    /* a part of itself again */
        if (at < now_length) {
            uint8_t part[64];
            size_t length = 1u + random_below(sizeof part);
            length = length > now_length - at ? now_length - at : length;
            memcpy(part, now + at, length);
            insert(random_below((uint32_t)now_length), part, length);
        }
    }
}

/* Give every `td` command the CRC that it should have. */
static void mend(void)
{
    size_t start = 0;
    for (size_t i = 0; i < now_length; i++) {
        if (now[i] != '%') {
            continue;
        }
        if (i >= start + 12 && memcmp(now + start, "td ", 3) == 0 && now[i - 9] == ' ') {
            char digits[16];
            uint32_t crc = td_crc32(0, now + start, (uint32_t)(i - 9 - start));
            snprintf(digits, sizeof digits, "%08x", (unsigned)crc);
            memcpy(now + i - 8, digits, 8);
        }
        start = i + 1;
    }
}

/* ---------------------------------------------------------------- the corpus */
static void keep(void)
{
    struct sample *slot = &corpus[corpus_length < CORPUS ? corpus_length++ : random_below(CORPUS)];
    free(slot->bytes);
    slot->bytes = malloc(now_length + 1);
    slot->length = now_length;
    if (slot->bytes == NULL) {
        exit(2);
    }
    memcpy(slot->bytes, now, now_length);
}

static void write_seed(const char *folder)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%08x.bin", folder,
             (unsigned)td_crc32(0, now, (uint32_t)now_length));
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(now, 1, now_length, file) != now_length || fclose(file) != 0) {
        fprintf(stderr, "cannot write %s\n", path);
        exit(2);
    }
}

static void read_seed(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(2);
    }
    now_length = fread(now, 1, sizeof now, file);
    fclose(file);
    run_case();
    keep();
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "fuzz_link SECONDS SEED NEW_SEEDS_FOLDER SEED_FILE...\n");
        return 2;
    }
    time_t end = time(NULL) + atol(argv[1]);
    unsigned long long cases = 0;
    random_state = strtoull(argv[2], NULL, 10) * 0x9e3779b97f4a7c15u + 1u;
    td_link_init();
    for (int i = 4; i < argc; i++) {
        read_seed(argv[i]);
        cases++;
    }
    while (time(NULL) < end) {
        for (int i = 0; i < 1000; i++, cases++) {
            const struct sample *from = &corpus[random_below((uint32_t)corpus_length)];
            now_length = from->length;
            memcpy(now, from->bytes, now_length);
            for (uint32_t left = 1u + random_below(6); left > 0; left--) {
                mutate();
            }
            if (random_below(2) == 0) {
                mend();
            }
            run_case();
            if (new_edges > 0) {
                keep();
                if (strcmp(argv[3], "-") != 0) {
                    write_seed(argv[3]);
                }
            }
        }
    }
    printf("%llu cases, %u edges, %zu seeds\n", cases, (unsigned)found_edges, corpus_length);
    return 0;
}
