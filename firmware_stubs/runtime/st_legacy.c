/* SPDX-License-Identifier: Apache-2.0
 * The runtime on top of a network generated with the older `ai_*` interface (X-CUBE-AI 7 to 10, `--c-api legacy`).
 *
 * Compiled in place of int8.c, blob.c and the kernels, only where the user's generated network.h, network_data.h and
 * ST's libraries are: none of them is part of this project. */
#include "network.h"      /* generated */
#include "network_data.h" /* generated */

#include "port.h"
#include "runtime.h"

#ifndef BENCH_RUNTIME_ID
#define BENCH_RUNTIME_ID (1u | 1u << 16) /* STM.AI, GCC */
#endif

static ai_handle network = AI_HANDLE_NULL;
static _Alignas(32) uint8_t activations[AI_NETWORK_DATA_ACTIVATIONS_SIZE];
static ai_buffer *inputs, *outputs;
static ai_u16 n_inputs, n_outputs;
static ai_network_report report;
static enum { UNTRIED, READY, FAILED } state;

static bool prepare(void)
{
    const ai_handle memory[] = {(ai_handle)activations};
    const ai_error error = ai_network_create_and_init(&network, memory, NULL);
    if (error.type != AI_ERROR_NONE || !ai_network_get_report(network, &report))
        return false;
    inputs = ai_network_inputs_get(network, &n_inputs);
    outputs = ai_network_outputs_get(network, &n_outputs);
    return inputs && outputs;
}

static uint32_t version(const ai_platform_version *v)
{
    return (uint32_t)v->major << 24 | (uint32_t)v->minor << 16 | (uint32_t)v->micro << 8;
}

rt_status rt_open(uint32_t index, rt_model *model, const char **reason)
{
    if (index)
        return RT_END;
    if (state == UNTRIED)
        state = prepare() ? READY : FAILED;
    if (state == FAILED) {
        *reason = "the generated network does not initialise";
        return RT_BROKEN;
    }
    *model = (rt_model){
        .name = report.model_name ? report.model_name : "network",
        .signature = report.model_signature ? report.model_signature : "",
        .datetime = report.compile_datetime ? report.compile_datetime : "",
        .description = report.runtime_revision ? report.runtime_revision : "ST Edge AI",
        .runtime_id = BENCH_RUNTIME_ID,
        .runtime_version = version(&report.runtime_version),
        .tool_version = version(&report.tool_version),
        .macs = report.n_macc,
        .n_inputs = n_inputs,
        .n_outputs = n_outputs,
        .activations = activations,
        .activation_bytes = AI_NETWORK_DATA_ACTIVATIONS_SIZE,
        .param_bytes = AI_NETWORK_DATA_WEIGHTS_SIZE,
    };
    return RT_OK;
}

static bool describe(const ai_buffer *from, rt_tensor *tensor)
{
    const ai_buffer_meta_info *meta = AI_BUFFER_META_INFO(from);
    *tensor = (rt_tensor){.name = "", .format = (uint32_t)from->format & 0xFFFFFFu, .data = (uint8_t *)from->data,
                          .bytes = AI_BUFFER_BYTE_SIZE(AI_BUFFER_SIZE(from), from->format)};
    /* The order of the dimensions here is batch, height, width, channels, whatever ST's own order is. */
    tensor->n_dims = 4;
    tensor->dims[0] = 1;
    tensor->dims[1] = AI_BUFFER_SHAPE_ELEM(from, AI_SHAPE_HEIGHT);
    tensor->dims[2] = AI_BUFFER_SHAPE_ELEM(from, AI_SHAPE_WIDTH);
    tensor->dims[3] = AI_BUFFER_SHAPE_ELEM(from, AI_SHAPE_CHANNEL);
    if (meta && AI_BUFFER_META_INFO_INTQ_GET_SIZE(AI_BUFFER_META_INFO_INTQ(meta))) {
        const ai_intq_info_list *quantization = AI_BUFFER_META_INFO_INTQ(meta);
        tensor->scale = AI_BUFFER_META_INFO_INTQ_GET_SCALE(quantization, 0);
        tensor->zero_point = AI_BUFFER_META_INFO_INTQ_GET_ZEROPOINT(quantization, 0);
    }
    return from->data != NULL;
}

bool rt_input(const rt_model *model, uint32_t i, rt_tensor *tensor)
{
    (void)model;
    return i < n_inputs && describe(&inputs[i], tensor);
}

bool rt_output(const rt_model *model, uint32_t i, rt_tensor *tensor)
{
    (void)model;
    return i < n_outputs && describe(&outputs[i], tensor);
}

bool rt_node_output(const rt_model *model, const rt_node *node, uint32_t i, rt_tensor *tensor)
{
    (void)model, (void)node, (void)i, (void)tensor;
    return false;
}

void rt_memory_written(const void *start, uint32_t size)
{
    (void)start, (void)size;
}

bool rt_run(const rt_model *model, rt_observer observer, void *observer_context, uint64_t *ticks)
{
    (void)model, (void)observer, (void)observer_context;
    const uint64_t start = port_ticks();
    const bool done = ai_network_run(network, inputs, outputs) == 1;
    *ticks = port_ticks() - start;
    return done;
}
