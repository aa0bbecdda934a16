/* SPDX-License-Identifier: Apache-2.0
 * Memory commands, and what they share with the other dialogues. */
#ifndef EDGEAI_MEMORY_H
#define EDGEAI_MEMORY_H

#include "msg.h"

/* ANSWER_BROKEN: the dialogue is over, nothing more is to be sent. */
typedef enum { ANSWER_OK, ANSWER_BROKEN, ANSWER_CLOSED } answer;

/* The host's next message of this dialogue; field 4 goes to `to` where it is not longer than `room`. */
answer bench_await(uint32_t id, msg_in *message, uint8_t *to, uint32_t room);

void memory_read(uint32_t id, uint32_t address, uint32_t size);
void memory_write(uint32_t id, uint32_t address, uint32_t size);

/* `kind` "" asks for the 16-bit BSD checksum, "crc32" for CRC-32 (IEEE 802.3), which is our extension. */
void memory_checksum(uint32_t id, uint32_t address, uint32_t size, const char *kind);

#endif
