/* SPDX-License-Identifier: Apache-2.0 */
#include "link.h"

#include <string.h>

#include "port.h"

static struct {
    uint8_t payload[LINK_PAYLOAD];
    uint32_t at;        /* next byte of the payload */
    uint32_t used;      /* bytes of the payload that count */
    uint32_t remaining; /* bytes of the message that were not read yet */
} rx;

static struct {
    uint8_t packet[LINK_PACKET];
    uint32_t used;
} tx;

static link_status payload(uint32_t header)
{
    if (header == 0 || header > LINK_PAYLOAD)
        return LINK_LOST;
    for (uint32_t i = 0; i < LINK_PAYLOAD; i++) {
        const int byte = port_getc(LINK_BYTE_TIMEOUT_MS);
        if (byte < 0)
            return byte == PORT_CLOSED ? LINK_CLOSED : LINK_LOST;
        rx.payload[i] = (uint8_t)byte;
    }
    rx.at = 0;
    rx.used = header;
    return port_overrun() ? LINK_LOST : LINK_OK;
}

static link_status packet(uint32_t timeout_ms)
{
    const int header = port_getc(timeout_ms);
    if (header < 0)
        return header == PORT_CLOSED ? LINK_CLOSED : LINK_LOST;
    return payload((uint32_t)header);
}

/* The length in front of a message; it stands in the first packet as a whole. */
static bool length(void)
{
    uint32_t value = 0;
    for (uint32_t shift = 0; shift < 32 && rx.at < rx.used; shift += 7) {
        const uint8_t byte = rx.payload[rx.at++];
        value |= (uint32_t)(byte & 0x7Fu) << shift;
        if (!(byte & 0x80u)) {
            rx.remaining = value;
            return true;
        }
    }
    return false;
}

link_status link_receive(void)
{
    rx.remaining = 0;
    const link_status status = packet(PORT_FOREVER);
    return status == LINK_OK && !length() ? LINK_LOST : status;
}

uint32_t link_remaining(void)
{
    return rx.remaining;
}

link_status link_read(uint8_t *to, uint32_t size)
{
    if (size > rx.remaining)
        return LINK_LOST;
    while (size) {
        if (rx.at == rx.used) {
            const uint8_t sync = LINK_SYNC;
            port_write(&sync, 1);
            const link_status status = packet(LINK_PACKET_TIMEOUT_MS);
            if (status != LINK_OK)
                return status;
        }
        const uint32_t there = rx.used - rx.at;
        const uint32_t n = size < there ? size : there;
        if (to) {
            memcpy(to, rx.payload + rx.at, n);
            to += n;
        }
        rx.at += n;
        rx.remaining -= n;
        size -= n;
    }
    return LINK_OK;
}

void link_drop(void)
{
    rx.remaining = 0;
    rx.at = rx.used = 0;
    while (port_getc(LINK_QUIET_MS) >= 0)
        ;
    (void)port_overrun();
}

void link_start(void)
{
    tx.used = 0;
}

static void flush(uint8_t header)
{
    tx.packet[0] = header;
    memset(tx.packet + 1 + tx.used, 0, LINK_PAYLOAD - tx.used);
    port_write(tx.packet, LINK_PACKET);
    tx.used = 0;
}

void link_put(const void *data, uint32_t size)
{
    const uint8_t *from = data;
    while (size) {
        if (tx.used == LINK_PAYLOAD) /* more follows: this one is not the last */
            flush(LINK_PAYLOAD);
        const uint32_t room = LINK_PAYLOAD - tx.used;
        const uint32_t n = size < room ? size : room;
        memcpy(tx.packet + 1 + tx.used, from, n);
        from += n;
        tx.used += n;
        size -= n;
    }
}

void link_finish(void)
{
    flush((uint8_t)(LINK_LAST | tx.used));
}
