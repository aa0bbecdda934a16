/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EDGEAI_CRC_H
#define EDGEAI_CRC_H

#include <stdint.h>

/* CRC-32 of IEEE 802.3, reflected, as zlib computes it. */
uint32_t crc32(const uint8_t *data, uint32_t size);

#endif
