/* SPDX-License-Identifier: Apache-2.0
 * Kernels that work on one element, or on a pair of elements, at a time. */
#include <math.h>
#include <string.h>

#include "kernels.h"

/* --- two operands, each broadcast by steps of 0 ------------------------------------------------------ */

typedef struct {
    operand a, b, to;
    int32_t dims[MAX_DIMS], a_step[MAX_DIMS], b_step[MAX_DIMS]; /* in elements */
} pair_words;

static bool steps_ok(const kernel_memory *m, const pair_words *p, operand at, const int32_t *step)
{
    uint64_t last = 0;
    for (int i = 0; i < MAX_DIMS; i++) {
        if (!count_ok(p->dims[i]) || step[i] < 0)
            return false;
        last += (uint64_t)(uint32_t)(p->dims[i] - 1) * (uint32_t)step[i];
    }
    return readable(m, at, last + 1);
}

static bool pair_ok(const kernel_memory *m, const pair_words *p)
{
    return steps_ok(m, p, p->a, p->a_step) && steps_ok(m, p, p->b, p->b_step) &&
           writable(m, p->to, product(p->dims, MAX_DIMS));
}

/* The innermost loop of an operator: `n` elements from `a` and `b` to `to`. */
typedef void (*row)(const void *words, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int8_t *to,
                    int32_t n);

static int8_t *walk(const pair_words *p, row function, int level, const int8_t *a, const int8_t *b, int8_t *to)
{
    if (level == MAX_DIMS - 1) {
        function(p, a, p->a_step[level], b, p->b_step[level], to, p->dims[level]);
        return to + p->dims[level];
    }
    for (int32_t i = 0; i < p->dims[level]; i++)
        to = walk(p, function, level + 1, a + (ptrdiff_t)i * p->a_step[level], b + (ptrdiff_t)i * p->b_step[level], to);
    return to;
}

static void each_pair(const kernel_memory *m, const pair_words *p, row function)
{
    walk(p, function, 0, (const int8_t *)source(m, p->a), (const int8_t *)source(m, p->b),
         (int8_t *)target(m, p->to));
}

/* --- add, subtract ----------------------------------------------------------------------------------- */

#define ADD_LEFT_SHIFT 20

typedef struct {
    pair_words pair;
    int32_t a_zero_point, a_multiplier, a_shift;
    int32_t b_zero_point, b_multiplier, b_shift;
    int32_t multiplier, shift, zero_point, low, high;
    int32_t subtract;
} add_words;

static int32_t a_scaled[256], b_scaled[256]; /* by the operands' values + 128 */

static bool add_check(const kernel_memory *m, const int32_t *words)
{
    const add_words *p = (const void *)words;
    return pair_ok(m, &p->pair) && shift_ok(p->a_shift) && shift_ok(p->b_shift) && shift_ok(p->shift);
}

static void scale_all(int32_t *table, int32_t zero_point, int32_t multiplier, int32_t shift, bool negative)
{
    for (int32_t x = -128; x < 128; x++) {
        const int32_t difference = (int32_t)((uint32_t)x - (uint32_t)zero_point);
        const int32_t scaled = requantize(shift_left(difference, ADD_LEFT_SHIFT), multiplier, shift);
        table[x + 128] = negative ? (int32_t)(0u - (uint32_t)scaled) : scaled;
    }
}

static void add_row(const void *words, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int8_t *to,
                    int32_t n)
{
    const add_words *p = words;
    for (int32_t i = 0; i < n; i++, a += a_step, b += b_step) {
        const int32_t sum = (int32_t)((uint32_t)a_scaled[*a + 128] + (uint32_t)b_scaled[*b + 128]);
        const int32_t x = requantize(sum, p->multiplier, p->shift);
        to[i] = (int8_t)clamp((int32_t)((uint32_t)x + (uint32_t)p->zero_point), p->low, p->high);
    }
}

static void add_run(const kernel_memory *m, const int32_t *words)
{
    const add_words *p = (const void *)words;
    scale_all(a_scaled, p->a_zero_point, p->a_multiplier, p->a_shift, false);
    scale_all(b_scaled, p->b_zero_point, p->b_multiplier, p->b_shift, p->subtract != 0);
    each_pair(m, &p->pair, add_row);
}

KERNEL(add, add_words);

/* --- multiply ---------------------------------------------------------------------------------------- */

typedef struct {
    pair_words pair;
    int32_t a_zero_point, b_zero_point, multiplier, shift, zero_point, low, high;
} mul_words;

static bool mul_check(const kernel_memory *m, const int32_t *words)
{
    const mul_words *p = (const void *)words;
    return pair_ok(m, &p->pair) && shift_ok(p->shift);
}

static void mul_row(const void *words, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int8_t *to,
                    int32_t n)
{
    const mul_words *p = words;
    for (int32_t i = 0; i < n; i++, a += a_step, b += b_step) {
        const int32_t x = requantize((*a - p->a_zero_point) * (*b - p->b_zero_point), p->multiplier, p->shift);
        to[i] = (int8_t)clamp((int32_t)((uint32_t)x + (uint32_t)p->zero_point), p->low, p->high);
    }
}

static void mul_run(const kernel_memory *m, const int32_t *words)
{
    each_pair(m, (const void *)words, mul_row);
}

KERNEL(mul, mul_words);

/* --- maximum, minimum -------------------------------------------------------------------------------- */

typedef struct {
    pair_words pair;
    int32_t minimum;
} extreme_words;

static bool extreme_check(const kernel_memory *m, const int32_t *words)
{
    return pair_ok(m, (const void *)words);
}

static void extreme_row(const void *words, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int8_t *to,
                        int32_t n)
{
    const bool minimum = ((const extreme_words *)words)->minimum != 0;
    for (int32_t i = 0; i < n; i++, a += a_step, b += b_step)
        to[i] = (*a < *b) == minimum ? *a : *b;
}

static void extreme_run(const kernel_memory *m, const int32_t *words)
{
    each_pair(m, (const void *)words, extreme_row);
}

KERNEL(extreme, extreme_words);

/* --- tables: any function of one 8-bit number --------------------------------------------------------- */

typedef struct {
    operand from, to;
    int32_t count;
    operand table;
} lut_words;

static bool lut_ok(const kernel_memory *m, const lut_words *p, uint32_t width)
{
    return p->count > 0 && readable(m, p->from, (uint32_t)p->count) && p->to % width == 0 &&
           writable(m, p->to, (uint64_t)(uint32_t)p->count * width) && p->table % width == 0 &&
           p->table & OPERAND_CONST && readable(m, p->table, 256u * width);
}

static bool lut8_check(const kernel_memory *m, const int32_t *words)
{
    return lut_ok(m, (const void *)words, 1);
}

static void lut8_run(const kernel_memory *m, const int32_t *words)
{
    const lut_words *p = (const void *)words;
    const uint8_t *from = source(m, p->from), *table = source(m, p->table);
    uint8_t *to = target(m, p->to);
    for (int32_t i = 0; i < p->count; i++)
        to[i] = table[from[i]];
}

KERNEL(lut8, lut_words);

static bool lut32_check(const kernel_memory *m, const int32_t *words)
{
    return lut_ok(m, (const void *)words, 4);
}

static void lut32_run(const kernel_memory *m, const int32_t *words)
{
    const lut_words *p = (const void *)words;
    const uint8_t *from = source(m, p->from);
    const uint32_t *table = (const void *)source(m, p->table);
    uint32_t *to = (void *)target(m, p->to);
    for (int32_t i = 0; i < p->count; i++)
        to[i] = table[from[i]];
}

KERNEL(lut32, lut_words);

/* --- float to 8 bits ---------------------------------------------------------------------------------- */

typedef struct {
    operand from, to;
    int32_t count;
    float scale;
    int32_t zero_point, low, high;
} quantize_words;

static bool quantize_check(const kernel_memory *m, const int32_t *words)
{
    const quantize_words *p = (const void *)words;
    return p->count > 0 && p->scale > 0 && p->from % 4u == 0 && p->zero_point >= -128 && p->zero_point <= 255 &&
           readable(m, p->from, 4u * (uint64_t)(uint32_t)p->count) && writable(m, p->to, (uint32_t)p->count);
}

static void quantize_run(const kernel_memory *m, const int32_t *words)
{
    const quantize_words *p = (const void *)words;
    const float *from = (const void *)source(m, p->from);
    uint8_t *to = target(m, p->to);
    for (int32_t i = 0; i < p->count; i++) {
        const float x = roundf(from[i] / p->scale); /* half away from zero */
        const int32_t whole = x >= 1024.0f ? 1024 : x > -1024.0f ? (int32_t)x : -1024;
        to[i] = (uint8_t)clamp(whole + p->zero_point, p->low, p->high);
    }
}

KERNEL(quantize, quantize_words);
