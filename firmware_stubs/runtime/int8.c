/* SPDX-License-Identifier: Apache-2.0
 * The runtime on top of model blobs: each node's steps in turn, each by its kernel. */
#include <stddef.h>
#include <string.h>

#include "blob.h"
#include "kernels.h"
#include "port.h"
#include "runtime.h"

#define SLOTS 8u
#define RUNTIME_VERSION (1u << 24)

#ifndef BENCH_RUNTIME_ID
#define BENCH_RUNTIME_ID (2u | 1u << 16)
#endif

typedef enum { UNKNOWN, ABSENT, GOOD, BAD } slot_state;

static struct {
    slot_state state;
    blob content;
    const char *reason;
} slots[SLOTS];

static slot_state look(uint32_t i)
{
    if (slots[i].state != UNKNOWN)
        return slots[i].state;
    uint32_t room = 0, arena_room = 0;
    const uint8_t *base = port_blob(i, &room);
    port_arena(&arena_room);
    if (!base || !blob_present(base, room)) {
        slots[i].state = ABSENT;
    } else {
        slots[i].reason = blob_open(&slots[i].content, base, room, arena_room);
        slots[i].state = slots[i].reason ? BAD : GOOD;
    }
    return slots[i].state;
}

void rt_memory_written(const void *start, uint32_t size)
{
    const uintptr_t low = (uintptr_t)start, high = low + size;
    for (uint32_t i = 0; i < SLOTS; i++) {
        uint32_t room = 0;
        const uintptr_t base = (uintptr_t)port_blob(i, &room);
        if (base && low < base + room && base < high)
            slots[i].state = UNKNOWN;
    }
}

rt_status rt_open(uint32_t index, rt_model *model, const char **reason)
{
    if (index >= SLOTS || look(index) == ABSENT)
        return RT_END;
    if (slots[index].state == BAD) {
        *reason = slots[index].reason;
        return RT_BROKEN;
    }
    const blob_header *h = slots[index].content.header;
    uint32_t arena_room;
    *model = (rt_model){
        .index = index,
        .name = h->name,
        .signature = h->signature,
        .datetime = "",
        .description = "edgeai int8",
        .runtime_id = BENCH_RUNTIME_ID,
        .runtime_version = RUNTIME_VERSION,
        .tool_version = h->tool_version,
        .macs = (uint64_t)h->macs_high << 32 | h->macs_low,
        .n_nodes = h->n_nodes,
        .n_inputs = h->n_inputs,
        .n_outputs = h->n_outputs,
        .activations = port_arena(&arena_room),
        .activation_bytes = h->arena_bytes,
        .params = slots[index].content.consts,
        .param_bytes = h->const_bytes,
    };
    return RT_OK;
}

static void describe(const blob *it, uint32_t number, rt_tensor *tensor)
{
    uint32_t room;
    const blob_tensor *t = &it->tensors[number];
    tensor->name = it->strings + t->name;
    tensor->format = t->format;
    tensor->n_dims = t->n_dims;
    memcpy(tensor->dims, t->dims, sizeof tensor->dims);
    tensor->scale = t->scale;
    tensor->zero_point = t->zero_point;
    tensor->data = port_arena(&room) + t->offset;
    tensor->bytes = t->bytes;
}

static bool listed(uint32_t model, uint32_t first, uint32_t count, uint32_t i, rt_tensor *tensor)
{
    if (model >= SLOTS || slots[model].state != GOOD || i >= count)
        return false;
    const blob *it = &slots[model].content;
    describe(it, (uint32_t)it->words[first + i], tensor);
    return true;
}

bool rt_input(const rt_model *model, uint32_t i, rt_tensor *tensor)
{
    const blob_header *h = slots[model->index].content.header;
    return listed(model->index, h->inputs, h->n_inputs, i, tensor);
}

bool rt_output(const rt_model *model, uint32_t i, rt_tensor *tensor)
{
    const blob_header *h = slots[model->index].content.header;
    return listed(model->index, h->outputs, h->n_outputs, i, tensor);
}

bool rt_node_output(const rt_model *model, const rt_node *node, uint32_t i, rt_tensor *tensor)
{
    const blob_node *n = &slots[model->index].content.nodes[node->index];
    return listed(model->index, n->outputs, n->n_outputs, i, tensor);
}

bool rt_run(const rt_model *model, rt_observer observer, void *context, uint64_t *ticks)
{
    if (look(model->index) != GOOD)
        return false;
    const blob *it = &slots[model->index].content;
    const blob_header *h = it->header;
    uint32_t room;
    const kernel_memory memory = {port_arena(&room), h->arena_bytes, it->consts, h->const_bytes};
    *ticks = 0;
    for (uint32_t i = 0; i < h->n_nodes; i++) {
        const blob_node *n = &it->nodes[i];
        const uint64_t start = port_ticks();
        for (uint32_t s = n->first_step; s < n->first_step + n->n_steps; s++)
            kernel_run(&memory, it->steps[s].kernel, it->words + it->steps[s].first_word);
        const uint64_t spent = port_ticks() - start;
        *ticks += spent;
        const rt_node node = {.index = i, .name = it->strings + n->name, .type = n->code, .ticks = spent,
                              .n_outputs = n->n_outputs, .n_counters = 2,
                              .counters = {(uint32_t)spent, (uint32_t)(spent >> 32)}};
        if (observer && !observer(context, model, &node))
            return false;
    }
    return true;
}
