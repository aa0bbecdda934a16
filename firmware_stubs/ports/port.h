/* SPDX-License-Identifier: Apache-2.0
 * What the bench application needs of a board. One implementation per folder beside this file. */
#ifndef EDGEAI_PORT_H
#define EDGEAI_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PORT_FOREVER UINT32_MAX
#define PORT_TIMEOUT (-1)
#define PORT_CLOSED (-2) /* the line is gone for good; only a host build sees it */

#define PORT_MAX_EXTRA 4

/* The answer to SYS_INFO. */
typedef struct {
    uint32_t device_id;
    uint32_t core_hz;
    uint32_t bus_hz;
    uint32_t cache; /* series and cache bits, see docs/wire-protocol.md */
    uint32_t n_extra;
    uint32_t extra[PORT_MAX_EXTRA];
} port_system;

void port_system_info(port_system *info);

/* A counter that never wraps, and its rate. */
uint64_t port_ticks(void);
uint32_t port_ticks_per_second(void);

/* The serial line. port_getc sleeps until a byte comes: 0..255, PORT_TIMEOUT or PORT_CLOSED. */
int port_getc(uint32_t timeout_ms);
uint32_t port_received(void); /* bytes that wait to be read */
bool port_overrun(void);      /* whether bytes were lost since the last call */
void port_write(const uint8_t *data, uint32_t size);

/* Deepest use of the stack since the last port_stack_mark, in bytes; -1 where it is not measured. */
void port_stack_mark(void);
int32_t port_stack_used(void);

/* The host's 32-bit addresses. NULL where the range may not be touched, 0 for memory the host cannot name. */
void *port_memory(uint32_t address, uint32_t size, bool write);
uint32_t port_address(const void *pointer);

/* For the int8 back-end: working memory, and the place of each model blob (NULL behind the last). */
uint8_t *port_arena(uint32_t *size);
const uint8_t *port_blob(uint32_t slot, uint32_t *size);

#endif
