/* SPDX-License-Identifier: Apache-2.0
 * Kernels that make one number of several: pooling, MEAN, REDUCE_MAX, REDUCE_MIN, ARG_MAX, ARG_MIN. */
#include <string.h>

#include "kernels.h"

/* Rounded to the nearest, halves away from zero. */
static int32_t rounded_quotient(int32_t sum, int32_t n)
{
    return sum > 0 ? (sum + n / 2) / n : (sum - n / 2) / n;
}

/* --- pooling ------------------------------------------------------------------------------------------ */

typedef struct {
    operand from, to;
    int32_t batches, in_h, in_w, depth, out_h, out_w;
    int32_t k_h, k_w, stride_h, stride_w, pad_h, pad_w;
    int32_t average;
    int32_t low, high;
} pool_words;

static bool pool_check(const kernel_memory *m, const int32_t *words)
{
    const pool_words *p = (const void *)words;
    const int32_t in[] = {p->batches, p->in_h, p->in_w, p->depth}, out[] = {p->batches, p->out_h, p->out_w, p->depth};
    const int32_t k[] = {p->k_h, p->k_w};
    return readable(m, p->from, product(in, 4)) && writable(m, p->to, product(out, 4)) &&
           product(k, 2) < 1u << 22 && count_ok(p->stride_h) && count_ok(p->stride_w) && p->pad_h >= 0 &&
           p->pad_w >= 0 && p->pad_h < 1 << 24 && p->pad_w < 1 << 24 &&
           (int64_t)p->out_h * p->stride_h < 1 << 28 && (int64_t)p->out_w * p->stride_w < 1 << 28;
}

typedef struct {
    int32_t top, bottom, left, right;
} window;

static int32_t pooled(const pool_words *p, const int8_t *from, const window *w)
{
    int32_t sum = 0, most = -128;
    for (int32_t y = w->top; y < w->bottom; y++)
        for (int32_t x = w->left; x < w->right; x++) {
            const int32_t value = from[((ptrdiff_t)y * p->in_w + x) * p->depth];
            sum += value;
            most = value > most ? value : most;
        }
    const int32_t n = (w->bottom - w->top) * (w->right - w->left);
    return clamp(!p->average ? most : n > 0 ? rounded_quotient(sum, n) : 0, p->low, p->high);
}

static void pool_run(const kernel_memory *m, const int32_t *words)
{
    const pool_words *p = (const void *)words;
    const int8_t *from = (const int8_t *)source(m, p->from);
    int8_t *to = (int8_t *)target(m, p->to);
    for (int32_t b = 0; b < p->batches; b++, from += (ptrdiff_t)p->in_h * p->in_w * p->depth)
        for (int32_t y = 0; y < p->out_h; y++)
            for (int32_t x = 0; x < p->out_w; x++) {
                const int32_t top = y * p->stride_h - p->pad_h, left = x * p->stride_w - p->pad_w;
                const window w = {clamp(top, 0, p->in_h), clamp(top + p->k_h, 0, p->in_h), clamp(left, 0, p->in_w),
                                  clamp(left + p->k_w, 0, p->in_w)};
                for (int32_t c = 0; c < p->depth; c++)
                    *to++ = (int8_t)pooled(p, from + c, &w);
            }
}

KERNEL(pool, pool_words);

/* --- reduction over any axes --------------------------------------------------------------------------- */

enum { REDUCE_MAX, REDUCE_MIN, REDUCE_MEAN };

typedef struct {
    operand from, to;
    int32_t kept[MAX_DIMS], kept_step[MAX_DIMS];
    int32_t reduced[MAX_DIMS], reduced_step[MAX_DIMS];
    int32_t mode;
    int32_t in_zero_point, multiplier, shift, zero_point;
} reduce_words;

static bool reduce_check(const kernel_memory *m, const int32_t *words)
{
    const reduce_words *p = (const void *)words;
    const uint64_t outputs = product(p->kept, MAX_DIMS), each = product(p->reduced, MAX_DIMS);
    uint64_t last = 0;
    if (outputs == UINT64_MAX || each >= 1u << 22 || !shift_ok(p->shift) || p->mode < 0 || p->mode > REDUCE_MEAN)
        return false;
    for (int i = 0; i < MAX_DIMS; i++) {
        if (p->kept_step[i] < 0 || p->reduced_step[i] < 0)
            return false;
        last += (uint64_t)(uint32_t)(p->kept[i] - 1) * (uint32_t)p->kept_step[i] +
                (uint64_t)(uint32_t)(p->reduced[i] - 1) * (uint32_t)p->reduced_step[i];
    }
    return readable(m, p->from, last + 1) && writable(m, p->to, outputs);
}

typedef struct {
    int32_t sum, most, least;
} totals;

static void collect(const reduce_words *p, int level, const int8_t *from, totals *t)
{
    const int32_t n = p->reduced[level];
    const ptrdiff_t step = p->reduced_step[level];
    if (level < MAX_DIMS - 1) {
        for (int32_t i = 0; i < n; i++)
            collect(p, level + 1, from + i * step, t);
        return;
    }
    for (int32_t i = 0; i < n; i++, from += step) {
        t->sum += *from;
        t->most = *from > t->most ? *from : t->most;
        t->least = *from < t->least ? *from : t->least;
    }
}

static int8_t reduced(const reduce_words *p, const totals *t)
{
    if (p->mode == REDUCE_MAX || p->mode == REDUCE_MIN)
        return (int8_t)(p->mode == REDUCE_MAX ? t->most : t->least);
    const int32_t n = (int32_t)product(p->reduced, MAX_DIMS);
    const int32_t sum = (int32_t)((uint32_t)t->sum - (uint32_t)n * (uint32_t)p->in_zero_point);
    const int32_t x = requantize(sum, p->multiplier, p->shift); /* the multiplier contains 1/n */
    return (int8_t)clamp((int32_t)((uint32_t)x + (uint32_t)p->zero_point), -128, 127);
}

static int8_t *keep(const reduce_words *p, int level, const int8_t *from, int8_t *to)
{
    if (level == MAX_DIMS) {
        totals t = {0, -128, 127};
        collect(p, 0, from, &t);
        *to = reduced(p, &t);
        return to + 1;
    }
    for (int32_t i = 0; i < p->kept[level]; i++)
        to = keep(p, level + 1, from + (ptrdiff_t)i * p->kept_step[level], to);
    return to;
}

static void reduce_run(const kernel_memory *m, const int32_t *words)
{
    const reduce_words *p = (const void *)words;
    keep(p, 0, (const int8_t *)source(m, p->from), (int8_t *)target(m, p->to));
}

KERNEL(reduce, reduce_words);

/* --- ARG_MAX, ARG_MIN ------------------------------------------------------------------------------------ */

typedef struct {
    operand from, to;
    int32_t outer, axis, inner;
    int32_t minimum;
    int32_t width; /* bytes of an index: 4 or 8 */
} arg_words;

static bool arg_check(const kernel_memory *m, const int32_t *words)
{
    const arg_words *p = (const void *)words;
    const int32_t in[] = {p->outer, p->axis, p->inner}, out[] = {p->outer, p->inner};
    const uint64_t outputs = product(out, 2);
    return (p->width == 4 || p->width == 8) && outputs != UINT64_MAX && readable(m, p->from, product(in, 3)) &&
           writable(m, p->to, outputs * (uint32_t)p->width);
}

static void arg_run(const kernel_memory *m, const int32_t *words)
{
    const arg_words *p = (const void *)words;
    const int8_t *from = (const int8_t *)source(m, p->from);
    uint8_t *to = target(m, p->to);
    for (int32_t o = 0; o < p->outer; o++, from += (ptrdiff_t)p->axis * p->inner)
        for (int32_t i = 0; i < p->inner; i++, to += p->width) {
            int64_t best = 0;
            for (int32_t k = 1; k < p->axis; k++) {
                const int8_t x = from[(ptrdiff_t)k * p->inner + i], held = from[(ptrdiff_t)best * p->inner + i];
                if (p->minimum ? x < held : x > held)
                    best = k;
            }
            memcpy(to, &best, (size_t)p->width); /* little-endian */
        }
}

KERNEL(arg, arg_words);
