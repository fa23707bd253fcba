/* plugin.c: counts the guest instructions executed between two code addresses, exactly.
 *
 * A translation block is cut into segments at the two addresses. Classes and cycles of a segment
 * are worked out once, when it is translated; at run time one callback a segment, on its first
 * instruction, settles the segment that ran before it. A block can be left early (fault, trap,
 * device access under -icount), so instructions that can leave it, and a segment's last one, carry
 * an inline addition to `executed`: when a segment is settled, it says how many of its instructions
 * ran, and a short run is charged instruction by instruction. So the totals are exact.
 *
 * One vCPU; README.md has the arguments and the output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cycles.h"
#include "insn.h"
#include "layers.h"
#include "qemu_api.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

struct segment {
    uint64_t address;
    uint64_t behind;            /* the address after its last instruction */
    bool begins_region;
    bool ends_region;
    bool marks;                 /* begins with td_profile_mark */
    struct td_insn *insns;
    size_t length;
    struct td_totals straight;     /* of one complete run that does not jump */
    uint64_t runs;              /* complete ones */
    uint64_t jumps;             /* of them, those that jumped at the end */
    struct td_layer_runs in_layers;
    struct segment *next;
};

static struct {
    bool riscv;
    const struct td_core *core;
    uint64_t from;
    uint64_t to;
    uint64_t mark;      /* td_profile_mark: its first instruction and its end, 0 without a profile */
    uint64_t mark_end;
    FILE *out;
} options;

static struct segment *segments;
static struct segment *current;
static uint64_t executed;           /* instructions so far */
static uint64_t executed_before;    /* ... when `current` was entered */
static struct td_totals short_runs;

static struct {
    bool open;
    uint64_t executed;
    struct td_totals totals;
} region;
static uint64_t regions;

static void out_of_memory(void)
{
    fprintf(stderr, "tdcount: out of memory\n");
    exit(1);
}

/* ---------------------------------------------------------------- counting */
static void charge(struct td_totals *totals, const struct td_insn *insn, const struct td_insn *before)
{
    totals->classes[insn->class]++;
    for (int k = 0; k < TD_ESTIMATES && options.core != NULL; k++) {
        totals->cycles[k] += td_cycles(options.core, insn, before, k);
    }
}

/* Close the segment that ran last; `to` is where control went. */
static void settle(uint64_t to)
{
    if (current == NULL) {
        return;
    }
    const struct td_insn *last = &current->insns[current->length - 1];
    uint64_t ran = executed - executed_before;
    td_layers_run(&current->in_layers, ran);
    if (ran == current->length) {
        current->runs++;
        current->jumps += last->writes_pc && (!last->conditional || to != current->behind);
        return;
    }
    for (uint64_t i = 0; i < ran; i++) {
        charge(&short_runs, &current->insns[i], i > 0 ? &current->insns[i - 1] : NULL);
    }
}

static struct td_totals sum(void)
{
    struct td_totals all = short_runs;
    for (const struct segment *segment = segments; segment != NULL; segment = segment->next) {
        const struct td_insn *last = &segment->insns[segment->length - 1];
        for (int i = 0; i < TD_CLASS_COUNT; i++) {
            all.classes[i] += segment->runs * segment->straight.classes[i];
        }
        for (int k = 0; k < TD_ESTIMATES && options.core != NULL; k++) {
            all.cycles[k] += segment->runs * segment->straight.cycles[k] +
                             segment->jumps * td_jump_cycles(options.core, last, k);
        }
    }
    return all;
}

/* ---------------------------------------------------------------- regions */
static void begin_region(const struct td_totals *now)
{
    region.open = true;
    region.executed = executed;
    region.totals = *now;
    td_layers_begin(executed, now);
}

static void print_layers(void)
{
    td_layers_print(options.out, options.core != NULL);
    for (const struct segment *segment = segments; segment != NULL; segment = segment->next) {
        td_layers_print_runs(options.out, segment->address, &segment->in_layers);
    }
}

static void end_region(const struct td_totals *now)
{
    struct td_totals spent = {0};
    if (!region.open) {
        return;
    }
    region.open = false;
    td_layers_end(executed, now);
    if (options.mark != 0) {
        print_layers();
    }
    td_totals_add_between(&spent, &region.totals, now);
    fprintf(options.out, "region=%llu", (unsigned long long)regions++);
    td_totals_print(options.out, executed - region.executed, &spent, options.core != NULL);
    fflush(options.out);
}

/* A segment starts. Runs before its first instruction's inline addition. */
static void enter(unsigned int vcpu, void *userdata)
{
    struct segment *segment = userdata;
    (void)vcpu;
    settle(segment->address);
    current = segment;
    executed_before = executed;
    if (segment->begins_region || segment->ends_region || segment->marks) {
        struct td_totals now = sum();
        if (segment->marks) {
            td_layers_mark(executed, &now);
        }
        if (segment->ends_region) {
            end_region(&now);
        }
        if (segment->begins_region) {
            begin_region(&now);
        }
    }
}

/* ---------------------------------------------------------------- translation */
static struct segment *new_segment(uint64_t address, size_t capacity)
{
    struct segment *segment = calloc(1, sizeof *segment);
    if (segment == NULL) {
        out_of_memory();
    }
    segment->insns = calloc(capacity, sizeof *segment->insns);
    if (segment->insns == NULL) {
        out_of_memory();
    }
    segment->address = address;
    segment->begins_region = address == options.from;
    segment->ends_region = address == options.to;
    segment->marks = options.mark != 0 && address == options.mark;
    segment->next = segments;
    segments = segment;
    return segment;
}

static bool starts_segment(const struct qemu_plugin_tb *tb, size_t index)
{
    uint64_t address = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, index));
    return index == 0 || address == options.from || address == options.to ||
           address == options.mark;
}

/* Whether an instruction always passes on to the next one. */
static bool stays(const struct td_insn *insn)
{
    switch (insn->class) {
    case TD_CLASS_alu: case TD_CLASS_mul: case TD_CLASS_mac: case TD_CLASS_mull:
    case TD_CLASS_simd: case TD_CLASS_it:
        return !insn->writes_pc;
    default:
        return false;
    }
}

/* The instructions that an IT makes conditional: its mask's lowest one marks the last. */
static unsigned it_block_length(const uint8_t *code)
{
    return 4u - (unsigned)__builtin_ctz(code[0] & 15u);
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    size_t count = qemu_plugin_tb_n_insns(tb);
    struct segment *segment = NULL;
    unsigned in_it_block = 0;
    uint64_t pending = 0;
    (void)id;
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *handle = qemu_plugin_tb_get_insn(tb, i);
        const uint8_t *code = qemu_plugin_insn_data(handle);
        uint64_t address = qemu_plugin_insn_vaddr(handle);
        if (starts_segment(tb, i)) {
            segment = new_segment(address, count - i);
            qemu_plugin_register_vcpu_insn_exec_cb(handle, enter, QEMU_PLUGIN_CB_NO_REGS, segment);
        }
        if (address >= options.mark && address < options.mark_end) {
            qemu_plugin_register_vcpu_mem_cb(handle, td_layers_store, QEMU_PLUGIN_CB_NO_REGS,
                                             QEMU_PLUGIN_MEM_W, NULL);
        }
        struct td_insn *insn = &segment->insns[segment->length];
        td_decode(options.riscv, code, qemu_plugin_insn_size(handle), insn);
        if (in_it_block > 0) {
            in_it_block--;
            insn->in_it_block = true;
            insn->conditional = insn->conditional || insn->writes_pc;
            insn->class = insn->class == TD_CLASS_b ? TD_CLASS_bc : insn->class;
        }
        if (insn->class == TD_CLASS_it) {
            in_it_block = it_block_length(code);
        }
        charge(&segment->straight, insn, segment->length > 0 ? insn - 1 : NULL);
        segment->length++;
        segment->behind = address + insn->size;
        pending++;
        if (!stays(insn) || i + 1 == count || starts_segment(tb, i + 1)) {
            qemu_plugin_register_vcpu_insn_exec_inline(handle, QEMU_PLUGIN_INLINE_ADD_U64,
                                                       &executed, pending);
            pending = 0;
        }
    }
}

/* ---------------------------------------------------------------- start */
static int refuse(const char *what, const char *detail)
{
    fprintf(stderr, "tdcount: %s%s\n", what, detail);
    return 1;
}

/* ADDRESS:BYTES */
static void read_range(const char *text, uint64_t *address, uint64_t *bytes)
{
    char *end;
    *address = strtoull(text, &end, 0);
    *bytes = *end == ':' ? strtoull(end + 1, NULL, 0) : 0;
}

static int read_option(const char *word, const char **core)
{
    enum { THUMB_BIT = 1 };
    uint64_t address;
    uint64_t bytes;
    const char *value = strchr(word, '=');
    if (value == NULL) {
        return refuse("not NAME=VALUE: ", word);
    }
    value++;
    if (strncmp(word, "from=", 5) == 0) {
        options.from = strtoull(value, NULL, 0) & ~(uint64_t)THUMB_BIT;
    } else if (strncmp(word, "to=", 3) == 0) {
        options.to = strtoull(value, NULL, 0) & ~(uint64_t)THUMB_BIT;
    } else if (strncmp(word, "mark=", 5) == 0) {
        read_range(value, &options.mark, &bytes);
        options.mark &= ~(uint64_t)THUMB_BIT;
        options.mark_end = options.mark + bytes;
    } else if (strncmp(word, "layers=", 7) == 0) {
        read_range(value, &address, &bytes);
        td_layers_init(address, bytes);
    } else if (strncmp(word, "core=", 5) == 0) {
        *core = value;
    } else if (strncmp(word, "out=", 4) == 0) {
        options.out = fopen(value, "w");
        return options.out != NULL ? 0 : refuse("cannot write ", value);
    } else {
        return refuse("unknown option: ", word);
    }
    return 0;
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
                                           char **argv)
{
    const char *core = NULL;
    options.out = stderr;
    options.riscv = strcmp(info->target_name, "riscv32") == 0;
    if (!options.riscv && strcmp(info->target_name, "arm") != 0) {
        return refuse("counts for qemu-system-arm and -riscv32, not for ", info->target_name);
    }
    if (!info->system_emulation || info->smp_vcpus > 1) {
        return refuse("counts for one CPU of a whole system", "");
    }
    for (int i = 0; i < argc; i++) {
        if (read_option(argv[i], &core) != 0) {
            return 1;
        }
    }
    if (options.from == 0 || options.to == 0) {
        return refuse("needs from= and to=", "");
    }
    if (core != NULL) {
        options.core = td_find_core(core);
        if (options.core == NULL || options.core->riscv != options.riscv) {
            return refuse("no cycle table for this target: ", core);
        }
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
