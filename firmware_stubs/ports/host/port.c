/* SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "board.h"
#include "port.h"

#define ARENA_BASE 0x70000000u
#define ARENA_SIZE 0x02000000u
#define BLOB_BASE 0x72000000u
#define BLOB_STRIDE 0x01000000u
#define BLOB_SLOTS 8u

static _Alignas(16) uint8_t arena[ARENA_SIZE];
static _Alignas(16) uint8_t blobs[BLOB_SLOTS][BLOB_STRIDE];
static uint32_t loaded;

static struct {
    int in, out;
    const uint8_t *data; /* a line in memory */
    size_t size;
    uint8_t buffer[4096];
    size_t at, used;
} line = {.in = 0, .out = 1};

bool board_load(const char *path)
{
    FILE *file = loaded < BLOB_SLOTS ? fopen(path, "rb") : NULL;
    if (!file)
        return false;
    const size_t size = fread(blobs[loaded++], 1, BLOB_STRIDE, file);
    fclose(file);
    return size > 0;
}

void board_line(int in, int out)
{
    line.in = in;
    line.out = out;
}

void board_line_memory(const uint8_t *data, size_t size)
{
    line.in = line.out = -1;
    line.data = data;
    line.size = size;
}

/* Take what there is: 1, 0 after the time, -1 at the end. */
static int refill(int timeout_ms)
{
    struct pollfd ready = {.fd = line.in, .events = POLLIN};
    if (line.in < 0 || poll(&ready, 1, timeout_ms) < 0)
        return -1;
    if (!ready.revents)
        return 0;
    const ssize_t n = read(line.in, line.buffer, sizeof line.buffer);
    if (n <= 0)
        return -1;
    line.at = 0;
    line.used = (size_t)n;
    return 1;
}

int port_getc(uint32_t timeout_ms)
{
    if (line.data) {
        if (line.size) {
            line.size--;
            return *line.data++;
        }
        return timeout_ms == PORT_FOREVER ? PORT_CLOSED : PORT_TIMEOUT;
    }
    if (line.at == line.used) {
        const int status = refill(timeout_ms == PORT_FOREVER ? -1 : (int)timeout_ms);
        if (status <= 0)
            return status == 0 ? PORT_TIMEOUT : PORT_CLOSED;
    }
    return line.buffer[line.at++];
}

uint32_t port_received(void)
{
    if (line.data)
        return 0; /* a file is not a host that lost its patience */
    if (line.at == line.used)
        (void)refill(0);
    return (uint32_t)(line.used - line.at);
}

bool port_overrun(void)
{
    return false;
}

void port_write(const uint8_t *data, uint32_t size)
{
    while (line.out >= 0 && size) {
        const ssize_t n = write(line.out, data, size);
        if (n <= 0)
            return;
        data += n;
        size -= (uint32_t)n;
    }
}

void port_system_info(port_system *info)
{
    info->device_id = 0x155; /* Corstone SSE-300, whose map this is */
    info->core_hz = info->bus_hz = 1000000000u;
}

uint64_t port_ticks(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint32_t port_ticks_per_second(void)
{
    return 1000000000u;
}

void port_stack_mark(void)
{
}

int32_t port_stack_used(void)
{
    return -1;
}

static uint8_t *mapped(uint32_t address, uint32_t size, uint32_t base, uint32_t room, uint8_t *memory)
{
    return address >= base && address - base <= room && size <= room - (address - base) ? memory + (address - base)
                                                                                        : NULL;
}

void *port_memory(uint32_t address, uint32_t size, bool write)
{
    (void)write;
    uint8_t *in_arena = mapped(address, size, ARENA_BASE, ARENA_SIZE, arena);
    return in_arena ? in_arena : mapped(address, size, BLOB_BASE, sizeof blobs, &blobs[0][0]);
}

uint32_t port_address(const void *pointer)
{
    const uint8_t *at = pointer;
    if (at >= arena && at < arena + ARENA_SIZE)
        return ARENA_BASE + (uint32_t)(at - arena);
    if (at >= &blobs[0][0] && at < &blobs[0][0] + sizeof blobs)
        return BLOB_BASE + (uint32_t)(at - &blobs[0][0]);
    return 0;
}

uint8_t *port_arena(uint32_t *size)
{
    *size = ARENA_SIZE;
    return arena;
}

const uint8_t *port_blob(uint32_t slot, uint32_t *size)
{
    *size = BLOB_STRIDE;
    return slot < BLOB_SLOTS ? blobs[slot] : NULL;
}
