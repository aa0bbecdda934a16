/* SPDX-License-Identifier: Apache-2.0
 * The model blob: one flat little-endian file that is used in place. edgeai/firmware/blob/layout.py writes it; both sides
 * must agree. All offsets count bytes from the start of the blob and are multiples of 4. */
#ifndef EDGEAI_BLOB_H
#define EDGEAI_BLOB_H

#include <stdbool.h>
#include <stdint.h>

#define BLOB_MAGIC 0x4C424145u /* "EABL" */
#define BLOB_VERSION 2u
#define BLOB_CRC_START 16u
#define BLOB_MAX_DIMS 6

typedef struct {
    uint32_t magic;
    uint32_t version;
    uint32_t size; /* of the whole blob */
    uint32_t crc;  /* CRC-32 of everything from byte 16 */
    char name[64];
    char signature[64]; /* SHA-256 of the TFLite file, its first 32 hex digits */
    uint32_t tool_version;
    uint32_t macs_low, macs_high;
    uint32_t arena_bytes;
    uint32_t weights_bytes; /* of the TFLite file's constants */
    uint32_t tensors, n_tensors;
    uint32_t nodes, n_nodes;
    uint32_t steps, n_steps;
    uint32_t words, n_words;      /* parameters of the steps, 32 bits each */
    uint32_t consts, const_bytes; /* weights, tables */
    uint32_t strings, string_bytes;
    uint32_t inputs, n_inputs;   /* lists of tensor numbers, in `words` */
    uint32_t outputs, n_outputs;
} blob_header;

typedef struct {
    uint32_t name; /* in `strings` */
    uint32_t format;
    uint32_t n_dims;
    uint32_t dims[BLOB_MAX_DIMS];
    float scale;
    int32_t zero_point;
    uint32_t offset; /* in the arena */
    uint32_t bytes;
} blob_tensor;

/* An operator of the TFLite file. It is executed as one or more steps. */
typedef struct {
    uint32_t name;
    uint32_t code; /* TFLite's operator code */
    uint32_t first_step, n_steps;
    uint32_t outputs, n_outputs; /* tensor numbers, in `words` */
} blob_node;

typedef struct {
    uint32_t kernel;
    uint32_t first_word, n_words;
} blob_step;

/* A checked blob. */
typedef struct {
    const uint8_t *base;
    const blob_header *header;
    const blob_tensor *tensors;
    const blob_node *nodes;
    const blob_step *steps;
    const int32_t *words;
    const uint8_t *consts;
    const char *strings;
} blob;

/* Whether something that calls itself a blob is there. */
bool blob_present(const uint8_t *base, uint32_t room);

/* Check everything that is used later: sizes, ranges, the checksum, each step's operands. NULL, or what is wrong. */
const char *blob_open(blob *it, const uint8_t *base, uint32_t room, uint32_t arena_room);

#endif
