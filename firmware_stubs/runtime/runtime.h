/* SPDX-License-Identifier: Apache-2.0
 * What the bench application needs of an inference runtime. Two back-ends implement it: int8.c runs a model blob with
 * the kernels in this folder, st_*.c run the network that ST Edge AI Core generated. */
#ifndef EDGEAI_RUNTIME_H
#define EDGEAI_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>

#define RT_MAX_DIMS 6
#define RT_MAX_COUNTERS 8

/* Formats of a tensor's elements, as the protocol codes them: sign, kind, bits, fraction bits + 64. */
#define RT_FORMAT(sign, kind, bits) ((uint32_t)(sign) << 23 | (uint32_t)(kind) << 17 | (uint32_t)(bits) << 7 | 0x40u)
#define RT_S8 RT_FORMAT(1, 2, 8)
#define RT_U8 RT_FORMAT(0, 2, 8)
#define RT_S16 RT_FORMAT(1, 2, 16)
#define RT_S32 RT_FORMAT(1, 2, 32)
#define RT_S64 RT_FORMAT(1, 2, 64)
#define RT_F32 RT_FORMAT(1, 1, 32)
#define RT_BITS(format) ((format) >> 7 & 0x7Fu)

typedef struct {
    const char *name;
    uint32_t format;
    uint32_t n_dims;
    uint32_t dims[RT_MAX_DIMS];
    float scale; /* 0 where not quantised */
    int32_t zero_point;
    uint8_t *data;
    uint32_t bytes;
} rt_tensor;

typedef struct {
    uint32_t index;
    const char *name;
    const char *signature; /* the first 32 hex digits of the model file's SHA-256 */
    const char *datetime;
    const char *description; /* of the runtime */
    uint32_t runtime_id;
    uint32_t runtime_version; /* major << 24 | minor << 16 | patch << 8 */
    uint32_t tool_version;
    uint64_t macs;
    uint32_t n_nodes;
    uint32_t n_inputs;
    uint32_t n_outputs;
    const uint8_t *activations;
    uint32_t activation_bytes;
    const uint8_t *params;
    uint32_t param_bytes;
} rt_model;

/* One executed node: an operator of the TFLite file, or an epoch of the NPU. */
typedef struct {
    uint32_t index;
    const char *name;
    uint32_t type; /* TFLite's operator code, or the kind of epoch */
    uint64_t ticks;
    uint32_t n_outputs;
    uint32_t counter_type;
    uint32_t n_counters;
    uint32_t counters[RT_MAX_COUNTERS];
} rt_node;

typedef enum { RT_OK, RT_END, RT_BROKEN } rt_status;

/* Called after each node; false stops the run. */
typedef bool (*rt_observer)(void *context, const rt_model *model, const rt_node *node);

/* Describe model `index`. RT_END behind the last, RT_BROKEN with a reason where it cannot be used. */
rt_status rt_open(uint32_t index, rt_model *model, const char **reason);

/* The host wrote to this memory: what was checked there must be checked again. */
void rt_memory_written(const void *start, uint32_t size);

bool rt_input(const rt_model *model, uint32_t i, rt_tensor *tensor);
bool rt_output(const rt_model *model, uint32_t i, rt_tensor *tensor);
bool rt_node_output(const rt_model *model, const rt_node *node, uint32_t i, rt_tensor *tensor);

/* Run once; `ticks` is the time of the nodes alone. False where the observer stopped it or the runtime failed. The
 * observer may be NULL. */
bool rt_run(const rt_model *model, rt_observer observer, void *context, uint64_t *ticks);

#endif
