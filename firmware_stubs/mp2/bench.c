/* SPDX-License-Identifier: Apache-2.0
 *
 * edgeai-mp2-bench: runs a model blob under 64-bit Arm Linux on one core and prints how long it took.
 *
 *     edgeai-mp2-bench MODEL.blob [-r RUNS] [-w WARMUP] [-i INPUT] [-o OUTPUT]
 *
 * -i reads the bytes of all inputs, one after the other (zeros without it); -o writes the bytes of all outputs.
 * No C library: 30 KB that run on any distribution. Exit status 0 ok, 2 for what cannot be used.
 */
#include <stddef.h>
#include <string.h>

#include "linux.h"
#include "port.h"
#include "runtime.h"

#define MAX_RUNS 10000u
#define MAX_NODES 4096u

typedef struct {
    const char *blob, *input, *output;
    uint32_t runs, warmup;
} options;

static void say(const char *text) { os_print(1, text); }

static void say_number(const char *before, uint64_t value, const char *after)
{
    char digits[21];
    char *at = digits + sizeof digits - 1;
    *at = '\0';
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    say(before);
    say(at);
    say(after);
}

static int fail(const char *what, const char *name)
{
    os_print(2, "edgeai-mp2-bench: ");
    os_print(2, what);
    os_print(2, name);
    os_print(2, "\n");
    return 2;
}

static bool number(const char *text, uint32_t limit, uint32_t *value)
{
    *value = 0;
    for (; *text >= '0' && *text <= '9'; ++text) {
        *value = *value * 10 + (uint32_t)(*text - '0');
        if (*value > limit)
            return false;
    }
    return *text == '\0';
}

static bool parsed(int argc, char **argv, options *asked)
{
    *asked = (options){.runs = 10, .warmup = 1};
    for (int i = 1; i < argc; ++i) {
        const char *word = argv[i];
        if (word[0] != '-') {
            if (asked->blob)
                return false;
            asked->blob = word;
            continue;
        }
        if (word[1] == '\0' || word[2] != '\0' || ++i == argc)
            return false;
        switch (word[1]) {
        case 'r':
            if (!number(argv[i], MAX_RUNS, &asked->runs) || asked->runs == 0)
                return false;
            break;
        case 'w':
            if (!number(argv[i], MAX_RUNS, &asked->warmup))
                return false;
            break;
        case 'i':
            asked->input = argv[i];
            break;
        case 'o':
            asked->output = argv[i];
            break;
        default:
            return false;
        }
    }
    return asked->blob != NULL;
}

/* All inputs from one file: its length must be theirs. */
static bool fill_inputs(const rt_model *model, const char *name)
{
    const int file = name ? os_open(name, false) : -1;
    bool good = !name || file >= 0;
    for (uint32_t i = 0; good && i < model->n_inputs; ++i) {
        rt_tensor tensor;
        good = rt_input(model, i, &tensor);
        if (good && name)
            good = os_read(file, tensor.data, tensor.bytes);
        else if (good)
            memset(tensor.data, 0, tensor.bytes);
    }
    uint8_t more;
    if (good && name)
        good = !os_read(file, &more, 1);
    if (file >= 0)
        os_close(file);
    return good;
}

static bool write_outputs(const rt_model *model, const char *name)
{
    const int file = os_open(name, true);
    bool good = file >= 0;
    for (uint32_t i = 0; good && i < model->n_outputs; ++i) {
        rt_tensor tensor;
        good = rt_output(model, i, &tensor) && os_write(file, tensor.data, tensor.bytes);
    }
    if (file >= 0)
        os_close(file);
    return good;
}

/* Nanoseconds of every node of the latest run; printed when it is over, so that printing takes no part of it. */
static struct {
    const char *name;
    uint32_t type;
    uint64_t time;
} nodes[MAX_NODES];

static bool note_node(void *context, const rt_model *model, const rt_node *node)
{
    (void)context, (void)model;
    if (node->index < MAX_NODES) {
        nodes[node->index].name = node->name;
        nodes[node->index].type = node->type;
        nodes[node->index].time = node->ticks;
    }
    return true;
}

static void say_nodes(uint32_t count)
{
    for (uint32_t i = 0; i < count && i < MAX_NODES; ++i) {
        say_number("node ", i, " ");
        say_number("", nodes[i].type, " ");
        say_number("", nodes[i].time, " ns ");
        say(nodes[i].name);
        say("\n");
    }
}

int bench(int argc, char **argv)
{
    static const char usage[] = "usage: MODEL.blob [-r RUNS] [-w WARMUP] [-i INPUT] [-o OUTPUT]";
    options asked;
    if (!parsed(argc, argv, &asked))
        return fail(usage, "");
    if (!linux_load(asked.blob))
        return fail("cannot read ", asked.blob);
    rt_model model;
    const char *reason = "no model blob";
    if (rt_open(0, &model, &reason) != RT_OK)
        return fail(reason ? reason : "no model blob", "");
    say("model: ");
    say(model.name);
    say("\nsignature: ");
    say(model.signature);
    say_number("\nmacs: ", model.macs, "\n");
    say_number("activations: ", model.activation_bytes, " bytes\n");
    uint64_t total = 0;
    for (uint32_t i = 0; i < asked.warmup + asked.runs; ++i) {
        /* inputs may share memory with what is computed from them */
        if (!fill_inputs(&model, asked.input))
            return fail("the inputs are not those of the model: ", asked.input ? asked.input : "");
        uint64_t ticks = 0;
        const uint64_t start = port_ticks();
        if (!rt_run(&model, note_node, NULL, &ticks))
            return fail("the run failed", "");
        const uint64_t elapsed = port_ticks() - start;
        if (i < asked.warmup)
            continue;
        total += elapsed;
        say_number("run ", i - asked.warmup + 1, ": ");
        say_number("", elapsed, " ns\n");
    }
    if (asked.output && !write_outputs(&model, asked.output))
        return fail("cannot write ", asked.output);
    say_nodes(model.n_nodes);
    say_number("average: ", total / asked.runs, " ns\n");
    say_number("peak memory: ", linux_peak_bytes(), " bytes\n");
    return 0;
}
