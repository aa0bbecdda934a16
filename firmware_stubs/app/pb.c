/* SPDX-License-Identifier: Apache-2.0 */
#include "pb.h"

#include <stddef.h>
#include <string.h>

#define STRING_LIMIT 63u /* the host's schema allows 64 bytes with the terminating zero */

static void put(pb_out *out, const void *data, uint32_t size)
{
    out->size += size;
    if (!out->counting)
        link_put(data, size);
}

static void put_varint(pb_out *out, uint64_t value)
{
    uint8_t bytes[10];
    uint32_t n = 0;
    do {
        bytes[n++] = (uint8_t)((value & 0x7Fu) | (value > 0x7Fu ? 0x80u : 0u));
        value >>= 7;
    } while (value);
    put(out, bytes, n);
}

static void put_tag(pb_out *out, uint32_t field, uint32_t type)
{
    put_varint(out, field << 3 | type);
}

void pb_put_uint(pb_out *out, uint32_t field, uint64_t value)
{
    put_tag(out, field, PB_VARINT);
    put_varint(out, value);
}

void pb_put_int(pb_out *out, uint32_t field, int32_t value)
{
    pb_put_uint(out, field, (uint64_t)(int64_t)value); /* a negative int32 takes ten bytes */
}

void pb_put_float(pb_out *out, uint32_t field, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint8_t bytes[4] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16), (uint8_t)(bits >> 24)};
    put_tag(out, field, PB_FIXED32);
    put(out, bytes, sizeof bytes);
}

void pb_put_bytes(pb_out *out, uint32_t field, const void *data, uint32_t size)
{
    put_tag(out, field, PB_BYTES);
    put_varint(out, size);
    if (size)
        put(out, data, size);
}

void pb_put_string(pb_out *out, uint32_t field, const char *text)
{
    const size_t size = strlen(text);
    pb_put_bytes(out, field, text, size < STRING_LIMIT ? (uint32_t)size : STRING_LIMIT);
}

void pb_put_message(pb_out *out, uint32_t field, pb_writer writer, const void *message)
{
    pb_out inner = {.counting = true, .size = 0};
    writer(&inner, message);
    put_tag(out, field, PB_BYTES);
    put_varint(out, inner.size);
    if (out->counting)
        out->size += inner.size;
    else
        writer(out, message);
}

static link_status get_varint(uint64_t *value)
{
    *value = 0;
    for (uint32_t shift = 0; shift < 70; shift += 7) {
        uint8_t byte = 0;
        const link_status status = link_read(&byte, 1);
        if (status != LINK_OK)
            return status;
        if (shift < 64)
            *value |= (uint64_t)(byte & 0x7Fu) << shift;
        if (!(byte & 0x80u))
            return LINK_OK;
    }
    return LINK_LOST;
}

link_status pb_get_field(pb_field *field)
{
    uint64_t tag = 0;
    link_status status = get_varint(&tag);
    if (status != LINK_OK)
        return status;
    field->number = (uint32_t)(tag >> 3);
    field->type = (uint32_t)(tag & 7u);
    field->value = 0;
    switch (field->type) {
    case PB_VARINT:
        return get_varint(&field->value);
    case PB_BYTES:
        status = get_varint(&field->value);
        return status == LINK_OK && field->value > link_remaining() ? LINK_LOST : status;
    case PB_FIXED32:
        return link_read(NULL, 4);
    case PB_FIXED64:
        return link_read(NULL, 8);
    default:
        return LINK_LOST;
    }
}
