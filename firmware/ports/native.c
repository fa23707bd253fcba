/* native.c: the firmware as a process of the host (POSIX).
 *
 * Alone it speaks over stdin and stdout. The environment variable TD_NATIVE holds words separated
 * by spaces:
 *   tcp                     listen on a free port of 127.0.0.1, print "port N" and serve one host;
 *                           ends when that host leaves or when stdin is closed
 *   latency_us=A,B,...      scripted clock: time stands still but for A us in the first inference,
 *                           B us in the second, ..., then from the start again
 *   energy_nj=A,B,...       scripted meter, likewise, one value a window
 *   pin=FILE                what the timestamp pin is wired to: a byte is written at every pulse
 *   fault=KIND@N            misbehave at the N-th command: hang, crash, exit, flood, reboot
 *   damage_in=N damage_out=N   flip a bit in every N-th byte received or sent
 */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "td_crc32.h"
#include "td_link.h"
#include "td_port.h"
#include "td_runtime.h"

#define SCRIPT_LENGTH 4096

struct script {
    uint32_t values[SCRIPT_LENGTH];
    uint32_t count;
    uint32_t next;
};

static struct script latency_us;
static uint32_t scripted_us;

static const char *fault_kind;
static long fault_at;
static long commands;

static int line_in = STDIN_FILENO;
static int line_out = STDOUT_FILENO;
static uint8_t out_buffer[4096];
static size_t out_length;

static unsigned long damage_in;
static unsigned long damage_out;

static void fail(const char *what)
{
    fprintf(stderr, "native firmware: %s\n", what);
    exit(2);
}

/* ---------------------------------------------------------------- the script */
static uint32_t next_value(struct script *script)
{
    uint32_t value = script->values[script->next];
    script->next = (script->next + 1) % script->count;
    return value;
}

static void read_values(struct script *script, const char *text)
{
    char *end = NULL;
    do {
        unsigned long value = strtoul(text, &end, 10);
        if (end == text || value > UINT32_MAX || script->count == SCRIPT_LENGTH) {
            fail("TD_NATIVE: a script is 1 to 4096 whole numbers, separated by commas");
        }
        script->values[script->count++] = (uint32_t)value;
        text = end + 1;
    } while (*end == ',');
    if (*end != '\0') {
        fail("TD_NATIVE: a script is 1 to 4096 whole numbers, separated by commas");
    }
}

static void read_fault(char *text)
{
    static const char *const kinds[] = {"hang", "crash", "exit", "flood", "reboot"};
    char *at = strchr(text, '@');
    if (at != NULL) {
        *at = '\0';
        fault_at = strtol(at + 1, NULL, 10);
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            if (strcmp(text, kinds[i]) == 0) {
                fault_kind = kinds[i];
            }
        }
    }
    if (fault_kind == NULL || fault_at < 1) {
        fail("TD_NATIVE: fault=KIND@N, KIND one of hang, crash, exit, flood, reboot");
    }
}

/* ---------------------------------------------------------------- the line */
static void flush(void)
{
    size_t at = 0;
    while (at < out_length) {
        ssize_t n = write(line_out, out_buffer + at, out_length - at);
        if (n <= 0) {
            exit(0);    /* the host has left */
        }
        at += (size_t)n;
    }
    out_length = 0;
}

static void serve_tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    struct pollfd waiting[2] = {{.fd = -1, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    int on = 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);   /* also when a model hangs and nobody reads the line */
#endif
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        fail("no free port on 127.0.0.1");
    }
    printf("port %u\n", (unsigned)ntohs(address.sin_port));
    fflush(stdout);
    waiting[0].fd = listener;
    while (waiting[0].revents == 0) {
        if (poll(waiting, 2, -1) < 0 || (waiting[0].revents == 0 && waiting[1].revents != 0)) {
            exit(0);    /* whoever started this is gone */
        }
    }
    line_in = accept(listener, NULL, NULL);
    if (line_in < 0) {
        fail("accept");
    }
    close(listener);
    setsockopt(line_in, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    line_out = line_in;
}

static void stop_answering(bool flood)
{
    static const char garbage[] = "\x00\xff garbage \x80\xfe m-results-[ ok 0000 !FAULTY\r\n";
    uint8_t ignored[256];
    while (flood) {
        memcpy(out_buffer, garbage, sizeof garbage);
        out_length = sizeof garbage;
        flush();
    }
    while (read(line_in, ignored, sizeof ignored) > 0) {
    }
    exit(0);
}

static void misbehave(void)
{
    if (strcmp(fault_kind, "hang") == 0 || strcmp(fault_kind, "flood") == 0) {
        stop_answering(fault_kind[0] == 'f');
    } else if (strcmp(fault_kind, "crash") == 0) {
        raise(SIGSEGV);
    } else if (strcmp(fault_kind, "reboot") == 0) {
        for (uint32_t i = 0; i < TD_INPUT_BYTES; i++) {
            td_runtime_put(i, 0);
        }
        td_link_init();
    } else {
        exit(3);
    }
}

static void on_signal(int number)
{
    static const char digits[] = "0123456789abcdef";
    char text[] = "\r\n!FAULT signal=00 00000000\r\n";
    text[16] = digits[number >> 4 & 15];
    text[17] = digits[number & 15];
    uint32_t crc = td_crc32(TD_CRC32_START, text + 2, 16);
    for (int i = 0; i < 8; i++) {
        text[19 + i] = digits[crc >> (28 - 4 * i) & 15u];
    }
    flush();
    ssize_t written = write(line_out, text, sizeof text - 1);
    _exit(written > 0 ? 70 : 71);
}

/* ---------------------------------------------------------------- td_port.h */
void td_port_putc(uint8_t byte)
{
    static unsigned long sent;
    sent++;
    if (damage_out > 0 && sent % damage_out == 0) {
        byte ^= 4u;
    }
    out_buffer[out_length++] = byte;
    if (out_length == sizeof out_buffer) {
        flush();
    }
}

static int read_byte(void)
{
    static uint8_t in_buffer[4096];
    static ssize_t in_length;
    static ssize_t in_at;
    if (in_at == in_length) {
        /* Answers leave when there is nothing left to read: one packet for many small writes. */
        flush();
        in_at = 0;
        in_length = read(line_in, in_buffer, sizeof in_buffer);
        if (in_length <= 0) {
            exit(0);
        }
    }
    return in_buffer[in_at++];
}

int td_port_getc(void)
{
    static unsigned long got;
    int byte = read_byte();
    got++;
    if (damage_in > 0 && got % damage_in == 0) {
        byte ^= 1;
    }
    if (byte == '%' && fault_kind != NULL && ++commands == fault_at) {
        misbehave();
        return -1;
    }
    return byte;
}

uint32_t td_port_timestamp_us(void)
{
    struct timespec now;
    flush();    /* a board's answers leave before the invoke, also when that never ends */
    if (latency_us.count > 0) {
        return scripted_us;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u);
}

void td_mark_begin(void)
{
}

void td_mark_end(void)
{
    if (latency_us.count > 0) {
        scripted_us += next_value(&latency_us);
    }
}

/* Unknown: the host's stack grows on demand. Tests play a small board. */
#ifndef TD_NATIVE_STACK_BYTES
#define TD_NATIVE_STACK_BYTES 0
#endif

uint32_t td_stack_reserved(void)
{
    return TD_NATIVE_STACK_BYTES;
}

uint32_t td_stack_high_water(void)
{
    return 0;
}

#ifdef TD_PORT_HAS_TIMESTAMP_PIN
static FILE *pin;

void td_port_timestamp_pin(void)
{
    flush();    /* a board's answers leave before the pulse */
    if (pin != NULL && (fputc('\n', pin) == EOF || fflush(pin) != 0)) {
        fail("nobody reads the timestamp pin any more");
    }
}
#endif

#ifdef TD_PORT_HAS_ENERGY
static struct script energy_nj;
static uint32_t window_nj;

void td_port_energy_start(void)
{
    window_nj = 0;
}

void td_port_energy_stop(void)
{
    if (energy_nj.count > 0) {
        window_nj = next_value(&energy_nj);
    }
}

uint32_t td_port_energy_nj(void)
{
    return window_nj;
}
#endif

#ifdef TD_LAYOUT
#include "native_flash.h"
#endif

static void read_word(char *word, bool *tcp)
{
    char *value = strchr(word, '=');
    if (value != NULL) {
        *value++ = '\0';
    }
    if (value == NULL && strcmp(word, "tcp") == 0) {
        *tcp = true;
    } else if (value != NULL && strcmp(word, "latency_us") == 0) {
        read_values(&latency_us, value);
#ifdef TD_PORT_HAS_ENERGY
    } else if (value != NULL && strcmp(word, "energy_nj") == 0) {
        read_values(&energy_nj, value);
#endif
#ifdef TD_PORT_HAS_TIMESTAMP_PIN
    } else if (value != NULL && strcmp(word, "pin") == 0) {
        if ((pin = fopen(value, "w")) == NULL) {
            fail("TD_NATIVE: pin=FILE cannot be opened");
        }
#endif
    } else if (value != NULL && strcmp(word, "fault") == 0) {
        read_fault(value);
    } else if (value != NULL && strcmp(word, "damage_in") == 0) {
        damage_in = strtoul(value, NULL, 10);
    } else if (value != NULL && strcmp(word, "damage_out") == 0) {
        damage_out = strtoul(value, NULL, 10);
    } else {
        fprintf(stderr, "native firmware: TD_NATIVE: %s is unknown here\n", word);
        exit(2);
    }
}

void td_port_init(void)
{
    static char words[65536];
    const char *script = getenv("TD_NATIVE");
    bool tcp = false;
    if (script != NULL) {
        if (strlen(script) >= sizeof words) {
            fail("TD_NATIVE is too long");
        }
        strcpy(words, script);
        for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " ")) {
            read_word(word, &tcp);
        }
    }
#ifdef TD_LAYOUT
    open_flash();
#endif
    signal(SIGPIPE, SIG_IGN);
    signal(SIGSEGV, on_signal);
    signal(SIGFPE, on_signal);
    signal(SIGILL, on_signal);
    signal(SIGABRT, on_signal);
    if (tcp) {
        serve_tcp();
    }
}
