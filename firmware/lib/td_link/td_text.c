#include "td_text.h"

#include "td_crc32.h"
#include "td_port.h"

static uint32_t crc;

void td_crc_start(void)
{
    crc = TD_CRC32_START;
}

uint32_t td_crc_so_far(void)
{
    return crc;
}

/* ---------------------------------------------------------------- out */
void td_put(char c)
{
    crc = td_crc32(crc, &c, 1);
    td_port_putc((uint8_t)c);
}

void td_put_text(const char *text)
{
    while (*text != '\0') {
        td_put(*text++);
    }
}

void td_put_printable(const char *text, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++) {
        td_put(text[i] >= ' ' && text[i] <= '~' ? text[i] : '?');
    }
}

/* `value` with a point in front of its last `decimals` digits. By subtraction instead of division:
 * a Cortex-M0 has no divide instruction. */
static void put_decimal(uint32_t value, uint32_t decimals)
{
    static const uint32_t powers[] = {1000000000u, 100000000u, 10000000u, 1000000u, 100000u,
                                      10000u,      1000u,      100u,      10u,      1u};
    bool started = false;
    for (uint32_t left = sizeof powers / sizeof powers[0]; left > 0; left--) {
        uint32_t power = powers[sizeof powers / sizeof powers[0] - left];
        char digit = '0';
        while (value >= power) {
            value -= power;
            digit++;
        }
        started = started || digit != '0' || left == decimals + 1u;
        if (left == decimals) {
            td_put('.');
        }
        if (started) {
            td_put(digit);
        }
    }
}

void td_put_u32(uint32_t value)
{
    put_decimal(value, 0);
}

void td_put_i32(int32_t value)
{
    if (value < 0) {
        td_put('-');
        td_put_u32(0u - (uint32_t)value);
    } else {
        td_put_u32((uint32_t)value);
    }
}

void td_put_milli(bool negative, uint64_t thousandths)
{
    if (negative) {
        td_put('-');
    }
    put_decimal(thousandths > UINT32_MAX ? UINT32_MAX : (uint32_t)thousandths, 3);
}

static void put_nibble(uint32_t value)
{
    td_put("0123456789abcdef"[value & 15u]);
}

void td_put_hex(const void *data, uint32_t bytes)
{
    const uint8_t *p = data;
    for (uint32_t i = 0; i < bytes; i++) {
        put_nibble(p[i] >> 4);
        put_nibble(p[i]);
    }
}

void td_put_hex32(uint32_t value)
{
    uint32_t high_first = __builtin_bswap32(value);     /* every core here is little-endian */
    td_put_hex(&high_first, sizeof high_first);
}

void td_put_crlf(void)
{
    td_put('\r');
    td_put('\n');
}

/* ---------------------------------------------------------------- in */
bool td_next_token(struct td_text *rest, struct td_text *token)
{
    while (rest->at < rest->end && *rest->at == ' ') {
        rest->at++;
    }
    token->at = rest->at;
    while (rest->at < rest->end && *rest->at != ' ') {
        rest->at++;
    }
    token->end = rest->at;
    return token->at < token->end;
}

bool td_token_is(const struct td_text *token, const char *word)
{
    const char *p = token->at;
    while (p < token->end && *word != '\0' && *p == *word) {
        p++;
        word++;
    }
    return p == token->end && *word == '\0';
}

bool td_token_u32(const struct td_text *token, uint32_t *value)
{
    uint32_t v = 0;
    if (token->at == token->end) {
        return false;
    }
    for (const char *p = token->at; p < token->end; p++) {
        if (*p < '0' || *p > '9') {
            return false;
        }
        uint32_t digit = (uint32_t)(*p - '0');
        if (v > 429496729u || (v == 429496729u && digit > 5u)) {
            return false;
        }
        v = v * 10u + digit;
    }
    *value = v;
    return true;
}

int td_hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

bool td_token_hex32(const struct td_text *token, uint32_t *value)
{
    uint32_t v = 0;
    if (token->end - token->at != 8) {
        return false;
    }
    for (const char *p = token->at; p < token->end; p++) {
        int digit = td_hex_digit(*p);
        /* One spelling only, so that no damaged byte can leave the meaning as it was. */
        if (digit < 0 || (*p >= 'A' && *p <= 'F')) {
            return false;
        }
        v = v << 4 | (uint32_t)digit;
    }
    *value = v;
    return true;
}
