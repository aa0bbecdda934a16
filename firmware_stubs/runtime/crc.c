/* SPDX-License-Identifier: Apache-2.0 */
#include "crc.h"

static uint32_t table[256];

static void fill(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1u ? 0xEDB88320u : 0u);
        table[i] = value;
    }
}

uint32_t crc32(const uint8_t *data, uint32_t size)
{
    if (!table[1])
        fill();
    uint32_t crc = UINT32_MAX;
    for (uint32_t i = 0; i < size; i++)
        crc = crc >> 8 ^ table[(crc ^ data[i]) & 0xFFu];
    return ~crc;
}
