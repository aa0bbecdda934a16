/* SPDX-License-Identifier: Apache-2.0 */
#include "msg.h"

#include <string.h>

#include "pb.h"

/* --- receive --------------------------------------------------------------------------------------- */

static link_status receive_bytes(msg_in *message, uint8_t *to, uint32_t room, uint32_t size)
{
    uint32_t head = sizeof message->text - 1;
    head = size < head ? size : head;
    link_status status = link_read((uint8_t *)message->text, head);
    message->text[head] = 0;
    message->size = size;
    if (status != LINK_OK)
        return status;
    if (!to || size > room)
        return link_read(NULL, size - head);
    memcpy(to, message->text, head);
    return link_read(to + head, size - head);
}

link_status msg_receive(msg_in *message, uint8_t *to, uint32_t room)
{
    memset(message, 0, sizeof *message);
    link_status status = link_receive();
    while (status == LINK_OK && link_remaining()) {
        pb_field field;
        status = pb_get_field(&field);
        if (status != LINK_OK)
            break;
        const bool known = field.number >= 1 && field.number <= 5;
        if (known && field.type != (field.number == 4 ? PB_BYTES : PB_VARINT))
            return LINK_LOST;
        if (known)
            message->present |= 1u << field.number;
        if (field.type == PB_BYTES)
            status = known ? receive_bytes(message, to, room, (uint32_t)field.value)
                           : link_read(NULL, (uint32_t)field.value);
        else if (known)
            message->value[field.number] = (uint32_t)field.value;
    }
    return status;
}

/* --- send ------------------------------------------------------------------------------------------ */

/* respMsg: request id, state and one payload. */
static void respond(uint32_t id, uint32_t state, uint32_t field, pb_writer writer, const void *payload)
{
    pb_out out = {.counting = false, .size = 0};
    link_start();
    pb_put_uint(&out, 1, id);
    pb_put_uint(&out, 2, state);
    pb_put_message(&out, field, writer, payload);
    link_finish();
}

typedef struct {
    uint32_t first, second;
    const char *text;
} pair;

static void write_sync(pb_out *out, const void *message)
{
    const pair *sync = message;
    pb_put_uint(out, 1, MSG_VERSION);
    pb_put_uint(out, 4, sync->first);
    pb_put_uint(out, 5, sync->second);
}

void msg_sync(uint32_t id, uint32_t capability, uint32_t runtime_id)
{
    const pair sync = {capability, runtime_id, NULL};
    respond(id, STATE_IDLE, 10, write_sync, &sync);
}

static void write_system(pb_out *out, const void *message)
{
    const port_system *info = message;
    pb_put_uint(out, 1, info->device_id);
    pb_put_uint(out, 2, info->core_hz);
    pb_put_uint(out, 3, info->bus_hz);
    pb_put_uint(out, 4, info->cache);
    for (uint32_t i = 0; i < info->n_extra; i++)
        pb_put_uint(out, 5, info->extra[i]);
}

void msg_system(uint32_t id, const port_system *info)
{
    respond(id, STATE_IDLE, 11, write_system, info);
}

static void write_ack(pb_out *out, const void *message)
{
    const pair *ack = message;
    pb_put_uint(out, 1, ack->first);
    pb_put_uint(out, 2, ack->second);
}

void msg_ack(uint32_t id, uint32_t state, uint32_t param, uint32_t error)
{
    const pair ack = {param, error, NULL};
    respond(id, state, 12, write_ack, &ack);
}

static void write_log(pb_out *out, const void *message)
{
    const pair *log = message;
    pb_put_uint(out, 1, log->first);
    pb_put_string(out, 2, log->text);
}

void msg_log(uint32_t id, uint32_t level, const char *text)
{
    const pair log = {level, 0, text};
    respond(id, STATE_PROCESSING, 13, write_log, &log);
}

typedef struct {
    uint32_t address;
    const uint8_t *data;
    uint32_t size;
} block;

static void write_data(pb_out *out, const void *message)
{
    const block *data = message;
    pb_put_uint(out, 1, 0);
    pb_put_uint(out, 2, data->size);
    pb_put_uint(out, 3, data->address);
    pb_put_bytes(out, 4, data->data, data->size);
}

void msg_data(uint32_t id, uint32_t state, uint32_t address, const uint8_t *data, uint32_t size)
{
    const block message = {address, data, size};
    respond(id, state, 15, write_data, &message);
}

typedef struct {
    const rt_node *node;
    uint32_t flags;
    int32_t stack_used;
} operation;

static void write_operator(pb_out *out, const void *message)
{
    const operation *op = message;
    const double ms = (double)op->node->ticks * 1000.0 / (double)port_ticks_per_second();
    pb_put_string(out, 1, op->node->name);
    pb_put_uint(out, 2, (op->node->type & 0xFFFFFFu) | op->flags);
    pb_put_uint(out, 3, op->node->index);
    pb_put_float(out, 4, (float)ms);
    pb_put_uint(out, 5, op->node->counter_type);
    for (uint32_t i = 0; i < op->node->n_counters; i++)
        pb_put_uint(out, 6, op->node->counters[i]);
    pb_put_int(out, 7, op->stack_used);
    pb_put_int(out, 8, 0); /* there is no heap */
}

void msg_operator(uint32_t id, const rt_node *node, uint32_t flags, int32_t stack_used)
{
    const operation op = {node, flags, stack_used};
    respond(id, STATE_PROCESSING, 16, write_operator, &op);
}

typedef struct {
    const rt_tensor *tensor;
    uint32_t flags;
    bool with_data;
} described;

static void write_description(pb_out *out, const void *message)
{
    const described *it = message;
    const rt_tensor *tensor = it->tensor;
    uint32_t elements = 1;
    for (uint32_t i = 0; i < tensor->n_dims; i++)
        elements *= tensor->dims[i];
    pb_put_string(out, 1, tensor->name);
    pb_put_uint(out, 2, tensor->format);
    pb_put_uint(out, 3, elements);
    pb_put_uint(out, 4, 5u << 24 | tensor->n_dims); /* RAW: the dimensions are what they are */
    for (uint32_t i = 0; i < tensor->n_dims; i++)
        pb_put_uint(out, 5, tensor->dims[i]);
    pb_put_float(out, 6, tensor->scale);
    pb_put_int(out, 7, tensor->zero_point);
    pb_put_uint(out, 8, port_address(tensor->data));
    pb_put_uint(out, 9, it->flags);
}

static void write_tensor(pb_out *out, const void *message)
{
    const described *it = message;
    const block data = {port_address(it->tensor->data), it->tensor->data, it->with_data ? it->tensor->bytes : 0};
    pb_put_message(out, 1, write_description, it);
    pb_put_message(out, 2, write_data, &data);
}

void msg_tensor(uint32_t id, uint32_t state, const rt_tensor *tensor, uint32_t flags, bool with_data)
{
    const described message = {tensor, with_data ? flags : flags | TENSOR_NO_DATA, with_data};
    respond(id, state, 17, write_tensor, &message);
}

static void write_pool(pb_out *out, uint32_t field, const char *name, const uint8_t *data, uint32_t bytes)
{
    const rt_tensor pool = {.name = name, .format = RT_U8, .n_dims = 1, .dims = {bytes},
                            .data = (uint8_t *)(uintptr_t)data, .bytes = bytes};
    const described message = {&pool, TENSOR_MEMPOOL, false};
    pb_put_message(out, field, write_description, &message);
}

static void write_model(pb_out *out, const void *message)
{
    const rt_model *model = message;
    rt_tensor tensor;
    pb_put_string(out, 1, model->name);
    pb_put_uint(out, 2, model->runtime_id);
    pb_put_string(out, 3, model->signature);
    pb_put_string(out, 4, model->datetime);
    pb_put_uint(out, 5, model->runtime_version);
    pb_put_uint(out, 6, model->tool_version);
    pb_put_uint(out, 7, model->macs);
    pb_put_uint(out, 8, model->n_nodes);
    pb_put_uint(out, 10, model->n_inputs);
    for (uint32_t i = 0; i < model->n_inputs && rt_input(model, i, &tensor); i++) {
        const described input = {&tensor, TENSOR_INPUT | TENSOR_IN_MEMPOOL, false};
        pb_put_message(out, 11, write_description, &input);
    }
    pb_put_uint(out, 12, model->n_outputs);
    for (uint32_t i = 0; i < model->n_outputs && rt_output(model, i, &tensor); i++) {
        const described output = {&tensor, TENSOR_OUTPUT | TENSOR_IN_MEMPOOL, false};
        pb_put_message(out, 13, write_description, &output);
    }
    pb_put_uint(out, 14, 1);
    write_pool(out, 15, "activations", model->activations, model->activation_bytes);
    pb_put_uint(out, 16, 1);
    write_pool(out, 17, "weights", model->params, model->param_bytes);
    pb_put_string(out, 20, model->description);
}

void msg_model(uint32_t id, const rt_model *model)
{
    respond(id, STATE_IDLE, 22, write_model, model);
}
