/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "port.h"

static FILE *input;
static FILE *output;

static void finish(void)
{
    if (fclose(output) != 0) {
        perror("check.out");
    }
}

void port_open(const char *input_name, const char *output_name)
{
    input = fopen(input_name, "rb");
    output = fopen(output_name, "wb");
    if (!input || !output) {
        perror(input ? output_name : input_name);
        exit(2);
    }
    atexit(finish);
}

int port_read(void *data, size_t bytes) { return fread(data, 1, bytes, input) == bytes; }

void port_write(const void *data, size_t bytes)
{
    if (fwrite(data, 1, bytes, output) != bytes) {
        perror("check.out");
        exit(2);
    }
}

void port_start(void) {}
uint32_t port_ticks(void) { return 0; }
