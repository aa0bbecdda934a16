/* SPDX-License-Identifier: Apache-2.0
 * Packets of 33 bytes in both directions: one header byte, 32 bytes of payload. */
#ifndef EDGEAI_LINK_H
#define EDGEAI_LINK_H

#include <stdbool.h>
#include <stdint.h>

#define LINK_PAYLOAD 32u
#define LINK_PACKET (LINK_PAYLOAD + 1u)
#define LINK_LAST 0x80u /* header of a packet to the host: the message ends here */
#define LINK_SYNC 0xAAu /* to the host: send the next packet */

/* A host that falls silent within a packet, or within a message, has gone: the message is dropped. */
#define LINK_BYTE_TIMEOUT_MS 1000u
#define LINK_PACKET_TIMEOUT_MS 2000u
/* Silence that ends a burst of noise. */
#define LINK_QUIET_MS 20u

typedef enum { LINK_OK, LINK_LOST, LINK_CLOSED } link_status;

/* Wait for the first packet of a message. LINK_LOST where what came is none: drop it. */
link_status link_receive(void);

/* Bytes of the message that were not read yet. */
uint32_t link_remaining(void);

/* Read bytes of the message; a NULL destination skips them. LINK_LOST where the message ends too early. */
link_status link_read(uint8_t *to, uint32_t size);

/* Drop the rest of the message and whatever else is on the line, until it is quiet. */
void link_drop(void);

/* Send: any number of link_put between link_start and link_finish. */
void link_start(void);
void link_put(const void *data, uint32_t size);
void link_finish(void);

#endif
