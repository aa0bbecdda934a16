/* SPDX-License-Identifier: Apache-2.0
 * The few services of Linux that the benchmark needs, without a C library. */
#ifndef EDGEAI_MP2_LINUX_H
#define EDGEAI_MP2_LINUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int bench(int argc, char **argv); /* the program: called once, its result is the exit status */

int os_open(const char *name, bool write); /* -1 where it does not open */
void os_close(int file);
bool os_read(int file, void *data, size_t size); /* exactly `size` bytes */
bool os_write(int file, const void *data, size_t size);
void os_print(int file, const char *text);

bool linux_load(const char *blob); /* the file that port_blob(0) gives */
uint64_t linux_peak_bytes(void);   /* of resident memory */

#endif
