/* SPDX-License-Identifier: Apache-2.0
 * The dialogue: what the board does with each request.
 *
 * Every answer carries the request's id. A host that gave up starts over with a request: where one comes in the middle
 * of a dialogue, the dialogue is forgotten and the request is served. */
#include "bench.h"

#include <string.h>

#include "memory.h"
#include "msg.h"
#include "port.h"
#include "runtime.h"

#ifndef BENCH_RUNTIME_ID
#define BENCH_RUNTIME_ID (2u | 1u << 16) /* nodes are TFLite operators; compiled by GCC */
#endif

static msg_in interrupting; /* a request that came instead of what was awaited */
static bool interrupted;

/* --- shared with memory.c -------------------------------------------------------------------------- */

answer bench_await(uint32_t id, msg_in *message, uint8_t *to, uint32_t room)
{
    const link_status status = msg_receive(message, to, room);
    if (status == LINK_CLOSED)
        return ANSWER_CLOSED;
    if (status == LINK_LOST) {
        link_drop();
        msg_ack(id, STATE_ERROR, 0, E_INVALID_FORMAT);
        return ANSWER_BROKEN;
    }
    if (MSG_IS_REQUEST(message)) {
        interrupting = *message;
        interrupted = true;
        return ANSWER_BROKEN;
    }
    return ANSWER_OK;
}

/* --- models ---------------------------------------------------------------------------------------- */

static void network_info(uint32_t id, uint32_t index)
{
    rt_model model;
    const char *reason = "";
    const rt_status status = rt_open(index, &model, &reason);
    if (status == RT_OK) {
        msg_model(id, &model);
    } else if (status == RT_END) {
        msg_ack(id, STATE_ERROR, 0, E_INVALID_PARAM);
    } else {
        msg_in message;
        msg_log(id, 4, reason);
        if (bench_await(id, &message, NULL, 0) == ANSWER_OK)
            msg_ack(id, STATE_ERROR, index, E_GENERIC);
    }
}

static bool find_model(const char *name, rt_model *model)
{
    const char *reason = "";
    for (uint32_t i = 0;; i++) {
        const rt_status status = rt_open(i, model, &reason);
        if (status == RT_END)
            return false;
        if (status == RT_OK && strncmp(model->name, name, 63) == 0)
            return true;
    }
}

/* --- run ------------------------------------------------------------------------------------------- */

typedef struct {
    uint32_t id;
    uint32_t mode;
} run_request;

/* The host gave up where it sends a whole packet while the board computes. */
static bool abandoned(void)
{
    return port_received() >= LINK_PACKET;
}

static void send_node(const run_request *run, const rt_model *model, const rt_node *node)
{
    const bool last = node->index + 1 == model->n_nodes;
    const uint32_t flags = OP_INTERNAL | (last ? OP_LAST : 0) | (node->n_outputs ? 0 : OP_WITHOUT_TENSOR);
    msg_operator(run->id, node, flags, -1);
    const bool with_data = (run->mode & RUN_WITH_DATA) && !(run->mode & RUN_PERF);
    rt_tensor tensor;
    for (uint32_t i = 0; i < node->n_outputs && rt_node_output(model, node, i, &tensor); i++) {
        const uint32_t end = i + 1 == node->n_outputs ? TENSOR_LAST : 0;
        msg_tensor(run->id, STATE_PROCESSING, &tensor, TENSOR_INTERNAL | end, with_data);
    }
}

static bool observe(void *context, const rt_model *model, const rt_node *node)
{
    const run_request *run = context;
    if (abandoned())
        return false;
    if (run->mode & (RUN_PER_LAYER | RUN_WITH_DATA))
        send_node(run, model, node);
    return true;
}

/* One element of the tensor is in place: the others become like it. */
static void fill(const rt_tensor *tensor, uint32_t element)
{
    for (uint32_t at = element; at < tensor->bytes; at += element)
        memcpy(tensor->data + at, tensor->data, element);
}

static bool receive_input(const run_request *run, const rt_tensor *tensor, bool last)
{
    const uint32_t bits = RT_BITS(tensor->format);
    const uint32_t element = bits < 8u ? 1u : bits / 8u;
    const bool one = (run->mode & (RUN_CONST_VALUE | RUN_DIRECT_WRITE)) != 0;
    const uint32_t expected = one ? element : tensor->bytes;
    msg_in message;
    if (bench_await(run->id, &message, tensor->data, expected) != ANSWER_OK)
        return false;
    if (!MSG_HAS(&message, DATA_BYTES) || message.size != expected || message.value[DATA_SIZE] != expected) {
        msg_ack(run->id, STATE_ERROR, expected, E_INVALID_SIZE);
        return false;
    }
    if (run->mode & RUN_CONST_VALUE)
        fill(tensor, element);
    msg_ack(run->id, last ? STATE_PROCESSING : STATE_WAITING, 0, E_NONE);
    return bench_await(run->id, &message, NULL, 0) == ANSWER_OK;
}

static void send_results(const run_request *run, const rt_model *model, uint64_t ticks)
{
    const rt_node whole = {.name = model->name, .ticks = ticks, .counter_type = 0, .n_counters = 2,
                           .counters = {(uint32_t)ticks, (uint32_t)(ticks >> 32)}};
    msg_operator(run->id, &whole, 0, port_stack_used());
    rt_tensor tensor;
    for (uint32_t i = 0; i < model->n_outputs && rt_output(model, i, &tensor); i++) {
        const bool last = i + 1 == model->n_outputs;
        const uint32_t flags = TENSOR_OUTPUT | (last ? TENSOR_LAST : 0);
        msg_tensor(run->id, last ? STATE_DONE : STATE_PROCESSING, &tensor, flags, !(run->mode & RUN_PERF));
    }
}

static void network_run(uint32_t id, uint32_t mode, const char *name)
{
    const run_request run = {id, mode};
    rt_model model;
    if (!find_model(name, &model)) {
        msg_ack(id, STATE_ERROR, 0, E_INVALID_PARAM);
        return;
    }
    msg_ack(id, STATE_WAITING, 0, E_NONE);
    for (uint32_t i = 0; i < model.n_inputs; i++) {
        rt_tensor tensor;
        if (!rt_input(&model, i, &tensor) || !receive_input(&run, &tensor, i + 1 == model.n_inputs))
            return;
    }
    uint64_t ticks = 0;
    port_stack_mark();
    const bool done = rt_run(&model, observe, (void *)(uintptr_t)&run, &ticks);
    if (abandoned())
        return;
    if (port_received())
        link_drop(); /* noise: a host is silent while the board computes */
    if (done)
        send_results(&run, &model, ticks);
    else
        msg_ack(id, STATE_ERROR, 0, E_GENERIC);
}

/* --- requests -------------------------------------------------------------------------------------- */

static void serve(const msg_in *request)
{
    const uint32_t id = request->value[REQUEST_ID];
    const uint32_t param = request->value[REQUEST_PARAM];
    const uint32_t opt = request->value[REQUEST_OPT];
    port_system system;
    switch (request->value[REQUEST_CMD]) {
    case CMD_SYNC:
        msg_sync(id, CAP_OBSERVER | CAP_READ_WRITE, BENCH_RUNTIME_ID);
        break;
    case CMD_SYS_INFO:
        memset(&system, 0, sizeof system);
        port_system_info(&system);
        msg_system(id, &system);
        break;
    case CMD_NETWORK_INFO:
        network_info(id, param);
        break;
    case CMD_NETWORK_RUN:
        network_run(id, param, request->text);
        break;
    case CMD_MEMORY_READ:
        memory_read(id, param, opt);
        break;
    case CMD_MEMORY_WRITE:
        memory_write(id, param, opt);
        break;
    case CMD_MEMORY_CHECKSUM:
        memory_checksum(id, param, opt, request->text);
        break;
    default:
        msg_ack(id, STATE_ERROR, 0, E_INVALID_PARAM);
    }
}

bool bench_serve(void)
{
    msg_in request;
    if (interrupted) {
        request = interrupting;
        interrupted = false;
    } else {
        const link_status status = msg_receive(&request, NULL, 0);
        if (status == LINK_CLOSED)
            return false;
        if (status == LINK_LOST || (request.present & 0x3Eu) != 0x3Eu) {
            link_drop(); /* not a request, so there is no id to answer with */
            return true;
        }
    }
    serve(&request);
    return true;
}
