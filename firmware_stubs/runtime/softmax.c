/* SPDX-License-Identifier: Apache-2.0
 * SOFTMAX in fixed point; and in float by a table, for more classes than the fixed point holds. The exponential and the reciprocal are those of gemmlowp's fixedpoint.h (public algorithm;
 * Q(n) below: n integer bits, 31 - n fraction bits). */
#include <math.h>

#include "kernels.h"

#define DIFFERENCE_BITS 5  /* integer bits of a difference of inputs */
#define SUM_BITS 12        /* integer bits of the sum of the exponentials */

typedef struct {
    operand from, to;
    int32_t rows, depth;
    int32_t multiplier, shift;
    int32_t least_difference; /* below it, the exponential is 0 */
} softmax_words;

static bool softmax_check(const kernel_memory *m, const int32_t *words)
{
    const softmax_words *p = (const void *)words;
    const int32_t counts[] = {p->rows, p->depth};
    const uint64_t n = product(counts, 2);
    return readable(m, p->from, n) && writable(m, p->to, n) && p->shift >= 0 && p->shift <= 30 && p->depth < 1 << 12;
}

static int32_t saturating_shift_left(int32_t x, int32_t exponent)
{
    const int64_t wide = (int64_t)x * ((int64_t)1 << exponent);
    return wide > INT32_MAX ? INT32_MAX : wide < INT32_MIN ? INT32_MIN : (int32_t)wide;
}

static int32_t sum(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

/* exp(x) for x in [-1/4, 0), Q0 to Q0: Taylor's series around -1/8. */
static int32_t exp_quarter(int32_t x)
{
    const int32_t exp_eighth = 1895147668, third = 715827883;
    const int32_t y = sum(x, 1 << 28);
    const int32_t y2 = doubling_high_mul(y, y);
    const int32_t y3 = doubling_high_mul(y2, y);
    const int32_t y4_4 = rounding_shift_right(doubling_high_mul(y2, y2), 2);
    const int32_t tail = rounding_shift_right(sum(doubling_high_mul(sum(y4_4, y3), third), y2), 1);
    return sum(exp_eighth, doubling_high_mul(exp_eighth, sum(y, tail)));
}

/* exp(x) for x <= 0, Q5 to Q0: the quarters by multiplication with exp(-2^k). */
static int32_t exp_negative(int32_t x)
{
    static const int32_t powers[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int32_t fraction = 31 - DIFFERENCE_BITS, quarter = 1 << (fraction - 2);
    if (x == 0)
        return INT32_MAX;
    const int32_t rest = (x & (quarter - 1)) - quarter;
    const int32_t quarters = rest - x;
    int32_t result = exp_quarter(saturating_shift_left(rest, DIFFERENCE_BITS));
    for (int32_t k = 0; k < 7; k++)
        if (quarters >> (fraction - 2 + k) & 1)
            result = doubling_high_mul(result, powers[k]);
    return result;
}

/* 1 / (1 + x) for x in [0, 1], Q0 to Q0: three steps of Newton's iteration. */
static int32_t reciprocal_of_one_plus(int32_t x)
{
    const int64_t twice = (int64_t)x + INT32_MAX;
    const int32_t half = (int32_t)((twice + (twice >= 0 ? 1 : -1)) / 2);
    int32_t y = sum(1515870810, doubling_high_mul(half, -1010580540)); /* 48/17 - 32/17 half, Q2 */
    for (int i = 0; i < 3; i++) {
        const int32_t rest = (int32_t)((1u << 29) - (uint32_t)doubling_high_mul(half, y));
        y = sum(y, saturating_shift_left(doubling_high_mul(y, rest), 2));
    }
    return saturating_shift_left(y, 1);
}

static int32_t leading_zeros(uint32_t x)
{
    int32_t n = 0;
    for (uint32_t bit = 1u << 31; bit && !(x & bit); bit >>= 1)
        n++;
    return n;
}

static int32_t exp_of(const softmax_words *p, int32_t difference)
{
    return exp_negative(doubling_high_mul(shift_left(difference, p->shift), p->multiplier));
}

static void softmax_row(const softmax_words *p, const int8_t *from, int8_t *to)
{
    int32_t most = -128, total = 0;
    for (int32_t i = 0; i < p->depth; i++)
        most = from[i] > most ? from[i] : most;
    for (int32_t i = 0; i < p->depth; i++)
        if (from[i] - most >= p->least_difference)
            total = sum(total, rounding_shift_right(exp_of(p, from[i] - most), SUM_BITS));
    const int32_t headroom = leading_zeros((uint32_t)total);
    if (headroom > SUM_BITS)
        return; /* the largest exponential alone is 1: never for a sound table */
    const int32_t scale = reciprocal_of_one_plus((int32_t)(((uint32_t)total << headroom) - (1u << 31)));
    const int32_t right = SUM_BITS - headroom + 31 - 8;
    for (int32_t i = 0; i < p->depth; i++) {
        int32_t x = 0;
        if (from[i] - most >= p->least_difference)
            x = right > 31 ? 0 : rounding_shift_right(doubling_high_mul(scale, exp_of(p, from[i] - most)), right);
        to[i] = (int8_t)clamp(x - 128, -128, 127);
    }
}

static void softmax_run(const kernel_memory *m, const int32_t *words)
{
    const softmax_words *p = (const void *)words;
    const int8_t *from = (const int8_t *)source(m, p->from);
    int8_t *to = (int8_t *)target(m, p->to);
    for (int32_t r = 0; r < p->rows; r++, from += p->depth, to += p->depth)
        softmax_row(p, from, to);
}

KERNEL(softmax, softmax_words);

/* --- by a table ---------------------------------------------------------------------------------------- */

typedef struct {
    operand from, to;
    int32_t rows, depth;
    operand table; /* float: exp(-step * i), for the i-th code below the largest */
} softmax_table_words;

static bool softmax_table_check(const kernel_memory *m, const int32_t *words)
{
    const softmax_table_words *p = (const void *)words;
    const int32_t counts[] = {p->rows, p->depth};
    const uint64_t n = product(counts, 2);
    return readable(m, p->from, n) && writable(m, p->to, n) && p->table & OPERAND_CONST && p->table % 4u == 0 &&
           readable(m, p->table, 256u * sizeof(float));
}

static void softmax_table_row(const float *table, const int8_t *from, int8_t *to, int32_t depth)
{
    int32_t most = -128;
    float total = 0;
    for (int32_t i = 0; i < depth; i++)
        most = from[i] > most ? from[i] : most;
    for (int32_t i = 0; i < depth; i++)
        total += table[most - from[i]];
    const float scale = 1.0f / (total * (1.0f / 256.0f));
    for (int32_t i = 0; i < depth; i++) {
        const float x = roundf(table[most - from[i]] * scale);
        to[i] = (int8_t)(x < 255.0f ? (int32_t)x - 128 : 127);
    }
}

static void softmax_table_run(const kernel_memory *m, const int32_t *words)
{
    const softmax_table_words *p = (const void *)words;
    const int8_t *from = (const int8_t *)source(m, p->from);
    int8_t *to = (int8_t *)target(m, p->to);
    for (int32_t r = 0; r < p->rows; r++, from += p->depth, to += p->depth)
        softmax_table_row((const float *)(const void *)source(m, p->table), from, to, p->depth);
}

KERNEL(softmax_table, softmax_table_words);
