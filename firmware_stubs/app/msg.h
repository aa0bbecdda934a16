/* SPDX-License-Identifier: Apache-2.0
 * The messages of the bench protocol, version 3.1 (docs/wire-protocol.md). */
#ifndef EDGEAI_MSG_H
#define EDGEAI_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "link.h"
#include "port.h"
#include "runtime.h"

#define MSG_VERSION (3u << 8 | 1u)

enum { CMD_SYNC = 0, CMD_SYS_INFO = 1, CMD_NETWORK_INFO = 10, CMD_NETWORK_RUN = 11,
       CMD_MEMORY_READ = 20, CMD_MEMORY_WRITE = 21, CMD_MEMORY_CHECKSUM = 22 };

enum { STATE_IDLE, STATE_WAITING, STATE_PROCESSING, STATE_DONE, STATE_ERROR };

enum { E_NONE = 0, E_INVALID_SIZE = 1, E_INVALID_FORMAT = 2, E_INVALID_STATE = 3, E_INVALID_PARAM = 4,
       E_MEM_OVERFLOW = 8, E_GENERIC = 10 };

enum { CAP_OBSERVER = 1, CAP_READ_WRITE = 8 };

enum { RUN_IO_ONLY = 1, RUN_PER_LAYER = 2, RUN_WITH_DATA = 4, RUN_PERF = 8, RUN_CONST_VALUE = 512,
       RUN_DIRECT_WRITE = 1024 };

enum { TENSOR_INPUT = 1, TENSOR_OUTPUT = 2, TENSOR_INTERNAL = 4, TENSOR_MEMPOOL = 8, TENSOR_LAST = 256,
       TENSOR_NO_DATA = 512, TENSOR_IN_MEMPOOL = 1024 };

enum { OP_INTERNAL = 1 << 24, OP_LAST = 2 << 24, OP_WITHOUT_TENSOR = 4 << 24 };

/* What the host sent. Its messages carry no type: a request is known by its field 5, the others are told apart by
 * their place in the dialogue. Field 4 is a request's name, or the bytes of a tensor. */
typedef struct {
    uint32_t present; /* bit n: field n was there */
    uint32_t value[6];
    uint32_t size;  /* of field 4 */
    char text[64];  /* its first 63 bytes, zero terminated */
} msg_in;

#define MSG_HAS(message, field) ((message)->present >> (field) & 1u)
#define MSG_IS_REQUEST(message) MSG_HAS(message, 5)
enum { REQUEST_ID = 1, REQUEST_CMD = 2, REQUEST_PARAM = 3, REQUEST_OPT = 5 };
enum { DATA_TYPE = 1, DATA_SIZE = 2, DATA_ADDRESS = 3, DATA_BYTES = 4 };

/* Receive a message. Field 4 is stored in `to` where it is not longer than `room`, else skipped. */
link_status msg_receive(msg_in *message, uint8_t *to, uint32_t room);

/* Answers to request `id`. */
void msg_sync(uint32_t id, uint32_t capability, uint32_t runtime_id);
void msg_system(uint32_t id, const port_system *info);
void msg_ack(uint32_t id, uint32_t state, uint32_t param, uint32_t error);
void msg_log(uint32_t id, uint32_t level, const char *text);
void msg_data(uint32_t id, uint32_t state, uint32_t address, const uint8_t *data, uint32_t size);
void msg_operator(uint32_t id, const rt_node *node, uint32_t flags, int32_t stack_used);
void msg_tensor(uint32_t id, uint32_t state, const rt_tensor *tensor, uint32_t flags, bool with_data);
void msg_model(uint32_t id, const rt_model *model);

#endif
