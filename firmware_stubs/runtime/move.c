/* SPDX-License-Identifier: Apache-2.0
 * Kernels that move numbers: RESHAPE, TRANSPOSE, slices, CONCATENATION, PAD, PACK, SPLIT, TILE and both resizes. */
#include <string.h>

#include "kernels.h"

/* --- fill ------------------------------------------------------------------------------------------ */

typedef struct {
    operand to;
    int32_t bytes, value;
} fill_words;

static bool fill_check(const kernel_memory *m, const int32_t *words)
{
    const fill_words *p = (const void *)words;
    return p->bytes > 0 && writable(m, p->to, (uint32_t)p->bytes);
}

static void fill_run(const kernel_memory *m, const int32_t *words)
{
    const fill_words *p = (const void *)words;
    memset(target(m, p->to), p->value, (size_t)p->bytes);
}

KERNEL(fill, fill_words);

/* --- copy: up to six nested loops over runs of bytes ----------------------------------------------- */

typedef struct {
    operand from, to;
    int32_t run; /* bytes that lie together on both sides */
    int32_t dims[MAX_DIMS];
    int32_t from_step[MAX_DIMS], to_step[MAX_DIMS]; /* bytes */
} copy_words;

/* The lowest and highest byte that a walk over `dims` touches, relative to its start. */
static bool reach(const copy_words *p, const int32_t *step, int64_t *low, int64_t *high)
{
    *low = 0;
    *high = p->run;
    for (int i = 0; i < MAX_DIMS; i++) {
        if (!count_ok(p->dims[i]))
            return false;
        const int64_t far = (int64_t)(p->dims[i] - 1) * step[i];
        *low += far < 0 ? far : 0;
        *high += far > 0 ? far : 0;
    }
    return p->run > 0;
}

static bool walk_ok(const kernel_memory *m, const copy_words *p, operand at, const int32_t *step, bool write)
{
    int64_t low, high;
    if (!reach(p, step, &low, &high) || -low > (int64_t)(at & ~OPERAND_CONST))
        return false;
    const operand start = (operand)((int64_t)at + low);
    return write ? writable(m, start, (uint64_t)(high - low)) : readable(m, start, (uint64_t)(high - low));
}

static bool copy_check(const kernel_memory *m, const int32_t *words)
{
    const copy_words *p = (const void *)words;
    return walk_ok(m, p, p->from, p->from_step, false) && walk_ok(m, p, p->to, p->to_step, true);
}

static void copy_row(const copy_words *p, const uint8_t *from, uint8_t *to)
{
    const int32_t n = p->dims[5], from_step = p->from_step[5], to_step = p->to_step[5];
    if (p->run == 1) {
        for (int32_t i = 0; i < n; i++)
            to[i * to_step] = from[i * from_step];
        return;
    }
    for (int32_t i = 0; i < n; i++, from += from_step, to += to_step)
        memcpy(to, from, (size_t)p->run);
}

static void copy_level(const copy_words *p, int level, const uint8_t *from, uint8_t *to)
{
    if (level == MAX_DIMS - 1) {
        copy_row(p, from, to);
        return;
    }
    for (int32_t i = 0; i < p->dims[level]; i++)
        copy_level(p, level + 1, from + (ptrdiff_t)i * p->from_step[level], to + (ptrdiff_t)i * p->to_step[level]);
}

static void copy_run(const kernel_memory *m, const int32_t *words)
{
    const copy_words *p = (const void *)words;
    copy_level(p, 0, source(m, p->from), target(m, p->to));
}

KERNEL(copy, copy_words);

/* --- resize: the source rows and columns of each output pixel come as tables ----------------------- */

typedef struct {
    operand from, to;
    int32_t batches, in_h, in_w, depth, out_h, out_w;
    operand rows, columns;
    int32_t fine; /* bilinear: weights in 1/2048, halves up; else in 1/1024, halves away from zero */
} resize_words;

/* A table of `count` entries of `width` numbers, the first `indices` of which are below `limit`. */
static bool table_ok(const kernel_memory *m, operand at, int32_t count, int32_t width, int32_t indices, int32_t limit)
{
    if (!(at & OPERAND_CONST) || at % 4u || !readable(m, at, (uint64_t)(uint32_t)count * (uint32_t)width * 4u))
        return false;
    const int32_t *entry = (const void *)source(m, at);
    for (int32_t i = 0; i < count; i++, entry += width)
        for (int32_t k = 0; k < indices; k++)
            if (entry[k] < 0 || entry[k] >= limit)
                return false;
    return true;
}

static bool resize_ok(const kernel_memory *m, const resize_words *p, int32_t width, int32_t indices)
{
    const int32_t in[] = {p->batches, p->in_h, p->in_w, p->depth}, out[] = {p->batches, p->out_h, p->out_w, p->depth};
    return readable(m, p->from, product(in, 4)) && writable(m, p->to, product(out, 4)) &&
           table_ok(m, p->rows, p->out_h, width, indices, p->in_h) &&
           table_ok(m, p->columns, p->out_w, width, indices, p->in_w);
}

static bool nearest_check(const kernel_memory *m, const int32_t *words)
{
    return resize_ok(m, (const void *)words, 1, 1);
}

static void nearest_run(const kernel_memory *m, const int32_t *words)
{
    const resize_words *p = (const void *)words;
    const uint8_t *from = source(m, p->from);
    uint8_t *to = target(m, p->to);
    const int32_t *rows = (const void *)source(m, p->rows), *columns = (const void *)source(m, p->columns);
    const size_t depth = (size_t)p->depth;
    for (int32_t b = 0; b < p->batches; b++, from += (size_t)p->in_h * (size_t)p->in_w * depth)
        for (int32_t y = 0; y < p->out_h; y++) {
            const uint8_t *row = from + (size_t)rows[y] * (size_t)p->in_w * depth;
            for (int32_t x = 0; x < p->out_w; x++, to += depth)
                memcpy(to, row + (size_t)columns[x] * depth, depth);
        }
}

KERNEL(nearest, resize_words);

/* Entries of the tables: lower and upper neighbour, distance from the lower one in 1/1024 or 1/2048. */

static bool bilinear_check(const kernel_memory *m, const int32_t *words)
{
    return resize_ok(m, (const void *)words, 3, 2);
}

static void bilinear_run(const kernel_memory *m, const int32_t *words)
{
    const resize_words *p = (const void *)words;
    const int8_t *from = (const int8_t *)source(m, p->from);
    int8_t *to = (int8_t *)target(m, p->to);
    const int32_t *rows = (const void *)source(m, p->rows), *columns = (const void *)source(m, p->columns);
    const ptrdiff_t depth = p->depth, width = p->in_w * depth;
    const int64_t one = p->fine ? 2048 : 1024;
    for (int32_t b = 0; b < p->batches; b++, from += p->in_h * width)
        for (int32_t y = 0; y < p->out_h; y++) {
            const int8_t *low = from + rows[3 * y] * width, *high = from + rows[3 * y + 1] * width;
            const int64_t fy = rows[3 * y + 2];
            for (int32_t x = 0; x < p->out_w; x++) {
                const ptrdiff_t left = columns[3 * x] * depth, right = columns[3 * x + 1] * depth;
                const int64_t fx = columns[3 * x + 2];
                for (ptrdiff_t c = 0; c < depth; c++) {
                    const int64_t sum = low[left + c] * (one - fy) * (one - fx) + high[left + c] * fy * (one - fx) +
                                        low[right + c] * (one - fy) * fx + high[right + c] * fy * fx;
                    *to++ = (int8_t)(p->fine ? (sum + (1 << 21)) >> 22
                                             : (sum + (sum > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));
                }
            }
        }
}

KERNEL(bilinear, resize_words);
