/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"

#include <string.h>

#include "crc.h"
#include "port.h"
#include "runtime.h"

#define CHUNK 2048u

static uint8_t chunk[CHUNK];

static uint32_t bsd(const uint8_t *data, uint32_t size)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < size; i++) {
        sum = (sum >> 1) | (sum & 1u) << 15;
        sum = (sum + data[i]) & 0xFFFFu;
    }
    return sum;
}

static void refuse(uint32_t id)
{
    msg_ack(id, STATE_ERROR, 0, E_INVALID_PARAM);
}

void memory_read(uint32_t id, uint32_t address, uint32_t size)
{
    const uint8_t *from = size ? port_memory(address, size, false) : NULL;
    if (!from) {
        refuse(id);
        return;
    }
    msg_ack(id, STATE_PROCESSING, 0, E_NONE);
    while (size) {
        const uint32_t n = size < CHUNK ? size : CHUNK;
        msg_data(id, n == size ? STATE_DONE : STATE_PROCESSING, address, from, n);
        msg_in message;
        if (n < size && bench_await(id, &message, NULL, 0) != ANSWER_OK)
            return;
        from += n;
        address += n;
        size -= n;
    }
}

void memory_write(uint32_t id, uint32_t address, uint32_t size)
{
    uint8_t *to = size ? port_memory(address, size, true) : NULL;
    if (!to) {
        refuse(id);
        return;
    }
    msg_ack(id, STATE_WAITING, CHUNK, E_NONE);
    while (size) {
        const uint32_t expected = size < CHUNK ? size : CHUNK;
        msg_in message;
        if (bench_await(id, &message, chunk, CHUNK) != ANSWER_OK)
            return;
        const uint32_t n = message.size;
        if (!MSG_HAS(&message, DATA_BYTES) || !n || n > expected || message.value[DATA_SIZE] != n) {
            msg_ack(id, STATE_ERROR, expected, E_INVALID_SIZE);
            return;
        }
        if (message.value[DATA_ADDRESS] != address) {
            refuse(id);
            return;
        }
        memcpy(to, chunk, n);
        rt_memory_written(to, n);
        to += n;
        address += n;
        size -= n;
        msg_ack(id, size ? STATE_WAITING : STATE_DONE, bsd(chunk, n), E_NONE);
    }
}

void memory_checksum(uint32_t id, uint32_t address, uint32_t size, const char *kind)
{
    const uint8_t *from = size ? port_memory(address, size, false) : NULL;
    if (!from || (kind[0] && strcmp(kind, "crc32") != 0)) {
        refuse(id);
        return;
    }
    msg_ack(id, STATE_DONE, kind[0] ? crc32(from, size) : bsd(from, size), E_NONE);
}
