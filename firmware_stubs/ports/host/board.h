/* SPDX-License-Identifier: Apache-2.0
 * A board that is a process on the host: the memory map of the emulated Cortex-M55, a file descriptor as the line. */
#ifndef EDGEAI_HOST_BOARD_H
#define EDGEAI_HOST_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Read a model blob into the next slot. */
bool board_load(const char *path);

/* The serial line: two file descriptors, or bytes in memory whose answers are dropped. */
void board_line(int in, int out);
void board_line_memory(const uint8_t *data, size_t size);

#endif
