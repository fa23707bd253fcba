#include "td_link.h"

#include "td_command.h"
#include "td_config.h"
#include "td_port.h"
#include "td_runtime.h"

struct td_counts td_counts;
bool td_config_ok;
bool td_only;

static char line[TD_LINE_BYTES];
static uint32_t length;
static bool too_long;

static bool is_td(void)
{
    return length >= 3 && line[0] == 't' && line[1] == 'd' && line[2] == ' ';
}

static void dispatch(void)
{
    if (length == 0 && !too_long) {
        td_mlperf(line, 0);
        return;
    }
    td_counts.commands++;
    if (is_td()) {
        if (too_long) {
            td_counts.too_long++;
            td_reject(TD_ERR_LONG);
        } else {
            td_command(line, length);
        }
        return;
    }
    if (too_long || length > TD_MLPERF_BYTES) {
        td_counts.too_long++;
        td_put_text("e-[Command longer than 80 bytes]\r\nm-ready\r\n");
        return;
    }
    td_mlperf(line, length);
}

void td_link_byte(uint8_t byte)
{
    if (byte == '%') {
        dispatch();
        length = 0;
        too_long = false;
    } else if (byte == '\r' || byte == '\n') {
        return;     /* a terminal's line end; no command contains one */
    } else if (length < TD_LINE_BYTES) {
        line[length++] = (char)byte;
    } else {
        too_long = true;
    }
}

void td_link_init(void)
{
#ifdef TD_LAYOUT
    td_update_start();
#endif
    td_config_ok = td_runtime_init();
    td_mlperf_start();
    if (!td_config_ok) {
        td_put_text("e-[TD_INPUT_BYTES is not the size of the model's inputs]\r\n");
    }
    td_put_text("m-init-done\r\nm-ready\r\n");
}
