/* SPDX-License-Identifier: Apache-2.0
 * Protocol Buffers, as much of the encoding as the bench protocol needs: varints, 32-bit floats, strings, bytes and
 * nested messages. Nothing is buffered: messages are written to and read from the link as they come.
 * Format: https://protobuf.dev/programming-guides/encoding */
#ifndef EDGEAI_PB_H
#define EDGEAI_PB_H

#include <stdbool.h>
#include <stdint.h>

#include "link.h"

enum { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 };

/* A message being written. While `counting`, only its size is found: a nested message is preceded by its length. */
typedef struct {
    bool counting;
    uint32_t size;
} pb_out;

typedef void (*pb_writer)(pb_out *out, const void *message);

void pb_put_uint(pb_out *out, uint32_t field, uint64_t value);
void pb_put_int(pb_out *out, uint32_t field, int32_t value);
void pb_put_float(pb_out *out, uint32_t field, float value);
void pb_put_bytes(pb_out *out, uint32_t field, const void *data, uint32_t size);
void pb_put_string(pb_out *out, uint32_t field, const char *text);
void pb_put_message(pb_out *out, uint32_t field, pb_writer writer, const void *message);

/* A field of the message on the link. `value` is the number, or the length of the bytes that follow. */
typedef struct {
    uint32_t number;
    uint32_t type;
    uint64_t value;
} pb_field;

/* Reads the next field's tag and value. LINK_LOST also where the message is malformed. */
link_status pb_get_field(pb_field *field);

#endif
