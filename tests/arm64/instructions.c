/* A qemu-user plugin (plugin API 1, QEMU 4.2 to 8.2) that counts the instructions an
 * arm64 program executes, and among them the multiplications neural networks are made
 * of, with the multiply-accumulates (MACs) that each can do.
 *
 * The program marks places by getpgid(7000000 + k); at each mark a line is written:
 *
 *     mark <k> instructions <n> loads_stores <n> ... half_multiply_macs <n>
 *
 * with the counts since the mark before. Encodings: Arm Architecture Reference Manual
 * for A-profile (DDI 0487), C4.1 "A64 instruction set encoding".
 *
 * No distribution ships qemu-plugin.h with qemu-user, so what is used of it is
 * declared here. Build: cc -O2 -Wall -shared -fPIC -o instructions.so instructions.c */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info {
    const char *target_name;
    /* more follows that is not used */
};
typedef void syscall_callback(plugin_id, unsigned vcpu, int64_t number, uint64_t a1,
                              uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5,
                              uint64_t a6, uint64_t a7, uint64_t a8);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id,
                                           void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int operation,
                                              void *counter, uint64_t added);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, syscall_callback *);

#define EXPORTED __attribute__((visibility("default")))
EXPORTED int qemu_plugin_version = 1;

enum { ADD_U64 = 0, GETPGID = 155, FIRST_MARK = 7000000, MARKS = 100000 };

enum counter {
    INSTRUCTIONS, LOADS_STORES, BRANCHES,
    DOT_PRODUCT, INT_MULTIPLY, FLOAT_MULTIPLY, HALF_MULTIPLY,
    DOT_PRODUCT_MACS, INT_MULTIPLY_MACS, FLOAT_MULTIPLY_MACS, HALF_MULTIPLY_MACS,
    COUNTERS
};
static const char *const NAMES[COUNTERS] = {
    "instructions", "loads_stores", "branches",
    "dot_product", "int_multiply", "float_multiply", "half_multiply",
    "dot_product_macs", "int_multiply_macs", "float_multiply_macs", "half_multiply_macs",
};
enum { TO_MACS = DOT_PRODUCT_MACS - DOT_PRODUCT };

/* How many MACs an instruction does: bytes of the register over `bytes` of what is
 * multiplied, or `lanes` where that does not depend on the register's half. */
enum lanes { BY_REGISTER, BY_SIZE_WIDENING, BY_SIZE };
static const struct {
    uint32_t mask, value;
    enum counter counter;
    enum lanes lanes;
    unsigned bytes;
} MULTIPLIES[] = {
    /* SDOT, UDOT: vector, by element */
    {0x9fe0fc00, 0x0e809400, DOT_PRODUCT, BY_REGISTER, 1},
    {0x9fc0f400, 0x0f80e000, DOT_PRODUCT, BY_REGISTER, 1},
    /* SMLAL, UMLAL, SMULL, UMULL (and the "2" forms): vector, by element */
    {0x9f20fc00, 0x0e208000, INT_MULTIPLY, BY_SIZE_WIDENING, 0},
    {0x9f20fc00, 0x0e20c000, INT_MULTIPLY, BY_SIZE_WIDENING, 0},
    {0x9f00f400, 0x0f002000, INT_MULTIPLY, BY_SIZE_WIDENING, 0},
    {0x9f00f400, 0x0f00a000, INT_MULTIPLY, BY_SIZE_WIDENING, 0},
    /* MLA, MUL: vector */
    {0xbf20fc00, 0x0e209400, INT_MULTIPLY, BY_SIZE, 0},
    {0xbf20fc00, 0x0e209c00, INT_MULTIPLY, BY_SIZE, 0},
    /* FMLA, single precision: vector, by element */
    {0xbfe0fc00, 0x0e20cc00, FLOAT_MULTIPLY, BY_REGISTER, 4},
    {0xbfc0f400, 0x0f801000, FLOAT_MULTIPLY, BY_REGISTER, 4},
    /* FMLA, half precision: vector, by element */
    {0xbfe0fc00, 0x0e400c00, HALF_MULTIPLY, BY_REGISTER, 2},
    {0xbfc0f400, 0x0f001000, HALF_MULTIPLY, BY_REGISTER, 2},
};

static uint64_t counts[COUNTERS], before[COUNTERS];
static FILE *out;

static uint64_t macs_of(uint32_t word, enum lanes lanes, unsigned bytes) {
    unsigned size = (word >> 22) & 3, register_bytes = (word >> 30) & 1 ? 16 : 8;
    /* 32-bit integers are multiplied to scale results, never for a MAC of int8. */
    if (lanes != BY_REGISTER && size > 1) return 0;
    if (lanes == BY_SIZE_WIDENING) return 8 >> size;
    return lanes == BY_SIZE ? register_bytes >> size : register_bytes / bytes;
}

static void count_multiply(uint32_t word, uint64_t *in_block) {
    for (size_t i = 0; i < sizeof MULTIPLIES / sizeof *MULTIPLIES; i++) {
        if ((word & MULTIPLIES[i].mask) != MULTIPLIES[i].value) continue;
        uint64_t macs = macs_of(word, MULTIPLIES[i].lanes, MULTIPLIES[i].bytes);
        in_block[MULTIPLIES[i].counter] += macs > 0;
        in_block[MULTIPLIES[i].counter + TO_MACS] += macs;
        return;
    }
}

/* Called once for each block of code; what it registers runs at each execution. */
static void translated(plugin_id id, struct qemu_plugin_tb *block) {
    uint64_t in_block[COUNTERS] = {0};
    size_t length = qemu_plugin_tb_n_insns(block);
    for (size_t i = 0; i < length; i++) {
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), 4);
        unsigned group = (word >> 25) & 15;
        in_block[INSTRUCTIONS]++;
        in_block[LOADS_STORES] += (group & 5) == 4;
        in_block[BRANCHES] += (group & 14) == 10;
        if ((group & 7) == 7) count_multiply(word, in_block);
    }
    for (int i = 0; i < COUNTERS; i++)
        if (in_block[i])
            qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &counts[i],
                                                     in_block[i]);
}

static void system_call(plugin_id id, unsigned vcpu, int64_t number, uint64_t a1,
                        uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6,
                        uint64_t a7, uint64_t a8) {
    if (number != GETPGID || a1 < FIRST_MARK || a1 >= FIRST_MARK + MARKS) return;
    fprintf(out, "mark %d", (int)(a1 - FIRST_MARK));
    for (int i = 0; i < COUNTERS; i++)
        fprintf(out, " %s %llu", NAMES[i], (unsigned long long)(counts[i] - before[i]));
    fputc('\n', out);
    fflush(out);
    memcpy(before, counts, sizeof counts);
}

EXPORTED int qemu_plugin_install(plugin_id id, const struct qemu_info *info, int argc,
                                 char **argv) {
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4)) out = fopen(argv[i] + 4, "w");
    if (!out || strcmp(info->target_name, "aarch64")) return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, system_call);
    return 0;
}
