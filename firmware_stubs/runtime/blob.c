/* SPDX-License-Identifier: Apache-2.0 */
#include "blob.h"

#include <stddef.h>
#include <string.h>

#include "crc.h"
#include "kernels.h"

bool blob_present(const uint8_t *base, uint32_t room)
{
    uint32_t magic;
    if (room < sizeof(blob_header))
        return false;
    memcpy(&magic, base, sizeof magic);
    return magic == BLOB_MAGIC;
}

static bool section(uint32_t total, uint32_t offset, uint64_t count, uint32_t item)
{
    return offset % 4u == 0 && offset <= total && count * item <= total - offset;
}

static bool within(uint32_t first, uint32_t count, uint32_t total)
{
    return first <= total && count <= total - first;
}

static bool text(const char *from, uint32_t size)
{
    return memchr(from, 0, size) != NULL;
}

static bool sections(const blob_header *h)
{
    return section(h->size, h->tensors, h->n_tensors, sizeof(blob_tensor)) &&
           section(h->size, h->nodes, h->n_nodes, sizeof(blob_node)) &&
           section(h->size, h->steps, h->n_steps, sizeof(blob_step)) &&
           section(h->size, h->words, h->n_words, sizeof(int32_t)) &&
           section(h->size, h->consts, h->const_bytes, 1) && section(h->size, h->strings, h->string_bytes, 1);
}

static bool tensor_list(const blob *it, uint32_t first, uint32_t count)
{
    if (!within(first, count, it->header->n_words))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if ((uint32_t)it->words[first + i] >= it->header->n_tensors)
            return false;
    return true;
}

static bool name(const blob *it, uint32_t offset)
{
    return offset < it->header->string_bytes; /* the last string ends with a zero, so each does */
}

static bool tensor(const blob *it, const blob_tensor *t)
{
    uint64_t elements = 1;
    if (!name(it, t->name) || t->n_dims > BLOB_MAX_DIMS)
        return false;
    for (uint32_t i = 0; i < t->n_dims; i++) {
        elements *= t->dims[i];
        if (elements > UINT32_MAX)
            return false;
    }
    const uint32_t bits = t->format >> 7 & 0x7Fu;
    return bits && bits % 8u == 0 && elements && elements * (bits / 8u) == t->bytes && t->offset % 4u == 0 &&
           within(t->offset, t->bytes, it->header->arena_bytes);
}

static bool node(const blob *it, const blob_node *n)
{
    return name(it, n->name) && within(n->first_step, n->n_steps, it->header->n_steps) &&
           tensor_list(it, n->outputs, n->n_outputs);
}

static bool step(const blob *it, const blob_step *s)
{
    if (!within(s->first_word, s->n_words, it->header->n_words))
        return false;
    /* Only sizes count here: no byte of the arena is read. */
    const kernel_memory memory = {NULL, it->header->arena_bytes, it->consts, it->header->const_bytes};
    return kernel_check(&memory, s->kernel, it->words + s->first_word, s->n_words);
}

static const char *contents(const blob *it)
{
    const blob_header *h = it->header;
    if (h->string_bytes == 0 || it->strings[h->string_bytes - 1] != 0 || !text(h->name, sizeof h->name) ||
        !text(h->signature, sizeof h->signature))
        return "model blob: names without an end";
    for (uint32_t i = 0; i < h->n_tensors; i++)
        if (!tensor(it, &it->tensors[i]))
            return "model blob: a tensor lies outside of the arena";
    if (!h->n_inputs || !h->n_outputs || !tensor_list(it, h->inputs, h->n_inputs) ||
        !tensor_list(it, h->outputs, h->n_outputs))
        return "model blob: inputs or outputs are missing";
    for (uint32_t i = 0; i < h->n_nodes; i++)
        if (!node(it, &it->nodes[i]))
            return "model blob: a node is damaged";
    for (uint32_t i = 0; i < h->n_steps; i++)
        if (!step(it, &it->steps[i]))
            return "model blob: a step reaches outside of its memory";
    return NULL;
}

const char *blob_open(blob *it, const uint8_t *base, uint32_t room, uint32_t arena_room)
{
    if (!blob_present(base, room) || (uintptr_t)base % 4u)
        return "no model blob";
    const blob_header *h = (const blob_header *)(const void *)base;
    if (h->version != BLOB_VERSION)
        return "model blob: made for another firmware version";
    if (h->size < sizeof *h || h->size > room)
        return "model blob: cut off";
    if (crc32(base + BLOB_CRC_START, h->size - BLOB_CRC_START) != h->crc)
        return "model blob: checksum does not match";
    if (h->arena_bytes > arena_room)
        return "model blob: needs more working memory than the board has";
    if (!sections(h))
        return "model blob: damaged";
    it->base = base;
    it->header = h;
    it->tensors = (const blob_tensor *)(const void *)(base + h->tensors);
    it->nodes = (const blob_node *)(const void *)(base + h->nodes);
    it->steps = (const blob_step *)(const void *)(base + h->steps);
    it->words = (const int32_t *)(const void *)(base + h->words);
    it->consts = base + h->consts;
    it->strings = (const char *)(base + h->strings);
    return contents(it);
}
