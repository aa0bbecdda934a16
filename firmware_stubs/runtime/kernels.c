/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels.h"

static const kernel *const table[K_COUNT] = {
    [K_FILL] = &kernel_fill, [K_COPY] = &kernel_copy, [K_NEAREST] = &kernel_nearest,
    [K_BILINEAR] = &kernel_bilinear, [K_CONV] = &kernel_conv, [K_DEPTHWISE] = &kernel_depthwise,
    [K_TRANSPOSE_CONV] = &kernel_transpose_conv, [K_MATMUL] = &kernel_matmul, [K_ADD] = &kernel_add,
    [K_MUL] = &kernel_mul, [K_EXTREME] = &kernel_extreme, [K_LUT8] = &kernel_lut8, [K_LUT32] = &kernel_lut32,
    [K_QUANTIZE] = &kernel_quantize, [K_POOL] = &kernel_pool, [K_SOFTMAX] = &kernel_softmax,
    [K_REDUCE] = &kernel_reduce, [K_ARG] = &kernel_arg, [K_SOFTMAX_TABLE] = &kernel_softmax_table,
};

bool kernel_check(const kernel_memory *memory, uint32_t number, const int32_t *words, uint32_t n_words)
{
    return number < K_COUNT && n_words == table[number]->n_words && table[number]->check(memory, words);
}

void kernel_run(const kernel_memory *memory, uint32_t number, const int32_t *words)
{
    table[number]->run(memory, words);
}

bool readable(const kernel_memory *m, operand at, uint64_t bytes)
{
    const uint32_t total = at & OPERAND_CONST ? m->const_bytes : m->arena_bytes;
    const uint32_t offset = at & ~OPERAND_CONST;
    return offset <= total && bytes <= total - offset;
}

bool writable(const kernel_memory *m, operand at, uint64_t bytes)
{
    return !(at & OPERAND_CONST) && readable(m, at, bytes);
}

uint64_t product(const int32_t *counts, uint32_t n)
{
    uint64_t total = 1;
    for (uint32_t i = 0; i < n; i++) {
        if (!count_ok(counts[i]))
            return UINT64_MAX;
        total *= (uint32_t)counts[i];
        if (total > UINT32_MAX)
            return UINT64_MAX;
    }
    return total;
}
