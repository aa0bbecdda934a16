/* SPDX-License-Identifier: Apache-2.0
 *   edgeai-bench-host BLOB...                     serve the protocol on standard input and output
 *   edgeai-bench-host --infer BLOB INPUTS OUT [TRACE]     run once; TRACE gets the outputs of every node
 * INPUTS is one file with the inputs one after the other; OUT gets the outputs in the same way. */
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "board.h"
#include "runtime.h"

static FILE *trace;

static bool keep_node(void *context, const rt_model *model, const rt_node *node)
{
    (void)context;
    rt_tensor tensor;
    for (uint32_t i = 0; i < node->n_outputs && rt_node_output(model, node, i, &tensor); i++)
        fwrite(tensor.data, 1, tensor.bytes, trace);
    return true;
}

static int infer(const char *blob, const char *inputs, const char *outputs)
{
    rt_model model;
    rt_tensor tensor;
    const char *reason = "no model blob";
    if (!board_load(blob) || rt_open(0, &model, &reason) != RT_OK) {
        fprintf(stderr, "%s: %s\n", blob, reason);
        return 1;
    }
    FILE *from = fopen(inputs, "rb"), *to = fopen(outputs, "wb");
    if (!from || !to)
        return 1;
    for (uint32_t i = 0; rt_input(&model, i, &tensor); i++)
        if (fread(tensor.data, 1, tensor.bytes, from) != tensor.bytes) {
            fprintf(stderr, "%s: too short\n", inputs);
            return 1;
        }
    uint64_t ticks;
    if (!rt_run(&model, trace ? keep_node : NULL, NULL, &ticks))
        return 1;
    for (uint32_t i = 0; rt_output(&model, i, &tensor); i++)
        fwrite(tensor.data, 1, tensor.bytes, to);
    fclose(from);
    return fclose(to);
}

int main(int argc, char **argv)
{
    if (argc >= 5 && strcmp(argv[1], "--infer") == 0) {
        if (argc > 5)
            trace = fopen(argv[5], "wb");
        return infer(argv[2], argv[3], argv[4]);
    }
    for (int i = 1; i < argc; i++)
        if (!board_load(argv[i])) {
            fprintf(stderr, "cannot read %s\n", argv[i]);
            return 1;
        }
    board_line(0, 1);
    while (bench_serve())
        ;
    return 0;
}
