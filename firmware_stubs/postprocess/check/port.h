/* SPDX-License-Identifier: Apache-2.0
 * What the check program needs from where it runs. */
#ifndef CHECK_PORT_H
#define CHECK_PORT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __GNUC__
#define PORT_LARGE __attribute__((section(".large"))) /* buffers that do not fit a microcontroller's inner RAM */
#else
#define PORT_LARGE
#endif

void port_open(const char *input, const char *output);
int port_read(void *data, size_t bytes); /* 1, or 0 at the end of the input */
void port_write(const void *data, size_t bytes);

/* Ticks since port_start, of a clock that the port knows; 0 where it has none. */
void port_start(void);
uint32_t port_ticks(void);

#endif
