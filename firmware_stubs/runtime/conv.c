/* SPDX-License-Identifier: Apache-2.0
 * Convolutions and matrix products: sums in 32 bits, one multiplier for each output channel. */
#include <string.h>

#include "kernels.h"

/* Multipliers, shifts and biases of the output channels: three tables in the constants. */
typedef struct {
    operand bias, multipliers, shifts;
    int32_t zero_point, low, high; /* of the output */
    int32_t once;                  /* whether a sum is rounded once, not twice */
} scaling;

static bool numbers_ok(const kernel_memory *m, operand at, int32_t count)
{
    return at & OPERAND_CONST && at % 4u == 0 && readable(m, at, 4u * (uint64_t)(uint32_t)count);
}

static bool scaling_ok(const kernel_memory *m, const scaling *s, int32_t channels)
{
    if (!numbers_ok(m, s->bias, channels) || !numbers_ok(m, s->multipliers, channels) ||
        !numbers_ok(m, s->shifts, channels))
        return false;
    const int32_t *shift = (const void *)source(m, s->shifts);
    for (int32_t i = 0; i < channels; i++)
        if (!shift_ok(shift[i]))
            return false;
    return true;
}

typedef struct {
    const int32_t *bias, *multiplier, *shift;
    int32_t zero_point, low, high;
    bool once;
} scales;

static scales scales_of(const kernel_memory *m, const scaling *s)
{
    return (scales){(const void *)source(m, s->bias), (const void *)source(m, s->multipliers),
                    (const void *)source(m, s->shifts), s->zero_point, s->low, s->high, s->once != 0};
}

static inline int8_t scaled(const scales *s, int32_t channel, int32_t sum)
{
    const int32_t multiplier = s->multiplier[channel], shift = s->shift[channel];
    const int32_t x = s->once ? requantize_once(sum, multiplier, shift) : requantize(sum, multiplier, shift);
    return (int8_t)clamp((int32_t)((uint32_t)x + (uint32_t)s->zero_point), s->low, s->high);
}

/* A window of k taps that slides over the input in one direction. */
static bool window_ok(int32_t out, int32_t k, int32_t stride, int32_t dilation, int32_t pad)
{
    return count_ok(out) && count_ok(k) && count_ok(stride) && count_ok(dilation) && pad >= 0 && pad < 1 << 24 &&
           (int64_t)out * stride + (int64_t)k * dilation < 1 << 28;
}

typedef struct {
    operand from, to, weights, scratch;
    int32_t batches, in_h, in_w, in_c, out_h, out_w, out_c;
    int32_t k_h, k_w, stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w;
    int32_t groups; /* of a depthwise convolution: outputs for each input channel */
    int32_t in_zero_point;
    scaling out;
} conv_words;

static bool conv_shapes(const kernel_memory *m, const conv_words *p, uint64_t taps, uint64_t scratch)
{
    const int32_t in[] = {p->batches, p->in_h, p->in_w, p->in_c};
    const int32_t out[] = {p->batches, p->out_h, p->out_w, p->out_c};
    return count_ok(p->groups) && readable(m, p->from, product(in, 4)) && writable(m, p->to, product(out, 4)) &&
           readable(m, p->weights, taps) && scaling_ok(m, &p->out, p->out_c) &&
           window_ok(p->out_h, p->k_h, p->stride_h, p->dilation_h, p->pad_h) &&
           window_ok(p->out_w, p->k_w, p->stride_w, p->dilation_w, p->pad_w) &&
           (!scratch || (p->scratch % 4u == 0 && writable(m, p->scratch, scratch)));
}

static bool pointwise(const conv_words *p)
{
    return p->k_h == 1 && p->k_w == 1 && p->pad_h == 0 && p->pad_w == 0 && p->groups == 1 &&
           (p->out_h - 1) * p->stride_h < p->in_h && (p->out_w - 1) * p->stride_w < p->in_w;
}

/* --- convolution ----------------------------------------------------------------------------------- */

/* The bias contains -zero_point * sum(weights), and padding is the zero point: nothing is subtracted in the loop. */

static bool conv_check(const kernel_memory *m, const int32_t *words)
{
    const conv_words *p = (const void *)words;
    const int32_t w[] = {p->out_c, p->k_h, p->k_w, p->in_c};
    const uint64_t taps = product(w, 4), patch = product(w + 1, 3);
    if (taps == UINT64_MAX || p->groups <= 0 || p->in_c % p->groups || p->out_c % p->groups)
        return false;
    const uint64_t groups = (uint32_t)p->groups;
    return conv_shapes(m, p, taps / groups, 0) &&
           (pointwise(p) || writable(m, p->scratch, 2u * (patch / groups)));
}

/* The input under the window at output pixel (y, x), taps in the order of the weights. */
static void gather(const conv_words *p, const int8_t *from, int32_t y, int32_t x, int32_t group, int8_t *patch)
{
    const int32_t depth = p->in_c / p->groups;
    const int32_t top = y * p->stride_h - p->pad_h, left = x * p->stride_w - p->pad_w;
    from += group * depth;
    for (int32_t ky = 0; ky < p->k_h; ky++) {
        const int32_t iy = top + ky * p->dilation_h;
        const bool inside = iy >= 0 && iy < p->in_h && left >= 0 && left + p->k_w <= p->in_w;
        if (inside && p->groups == 1 && p->dilation_w == 1) { /* a whole row of taps lies together */
            memcpy(patch, from + ((ptrdiff_t)iy * p->in_w + left) * depth, (size_t)(p->k_w * depth));
            patch += p->k_w * depth;
            continue;
        }
        for (int32_t kx = 0; kx < p->k_w; kx++, patch += depth) {
            const int32_t ix = left + kx * p->dilation_w;
            if (iy >= 0 && iy < p->in_h && ix >= 0 && ix < p->in_w)
                memcpy(patch, from + ((ptrdiff_t)iy * p->in_w + ix) * p->in_c, (size_t)depth);
            else
                memset(patch, p->in_zero_point, (size_t)depth);
        }
    }
}

/* Two patches times four rows of weights at once: each number is loaded once for several products. */
static inline void products(const int8_t *restrict a, const int8_t *restrict b, const int8_t *restrict w, int32_t n,
                            int32_t sums[8])
{
    const int8_t *w0 = w, *w1 = w + n, *w2 = w + 2 * (ptrdiff_t)n, *w3 = w + 3 * (ptrdiff_t)n;
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
    for (int32_t i = 0; i < n; i++) {
        const int32_t x = a[i], y = b[i];
        a0 += x * w0[i];
        b0 += y * w0[i];
        a1 += x * w1[i];
        b1 += y * w1[i];
        a2 += x * w2[i];
        b2 += y * w2[i];
        a3 += x * w3[i];
        b3 += y * w3[i];
    }
    const int32_t found[8] = {a0, a1, a2, a3, b0, b1, b2, b3};
    memcpy(sums, found, sizeof found);
}

static int32_t dot(const int8_t *restrict a, const int8_t *restrict b, int32_t n)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static inline int32_t add(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

/* All output channels [first, first + count) of two pixels, at `to` and `to + next`. */
static void pixels(const scales *s, const int8_t *a, const int8_t *b, const int8_t *weights, int32_t n, int32_t first,
                   int32_t count, int8_t *to, ptrdiff_t next)
{
    const int32_t end = first + count;
    int32_t c = first;
    for (; c + 4 <= end; c += 4, weights += 4 * (ptrdiff_t)n) {
        int32_t sums[8];
        products(a, b, weights, n, sums);
        for (int32_t i = 0; i < 4; i++) {
            to[c + i] = scaled(s, c + i, add(sums[i], s->bias[c + i]));
            to[next + c + i] = scaled(s, c + i, add(sums[4 + i], s->bias[c + i]));
        }
    }
    for (; c < end; c++, weights += n) {
        to[c] = scaled(s, c, add(dot(a, weights, n), s->bias[c]));
        to[next + c] = scaled(s, c, add(dot(b, weights, n), s->bias[c]));
    }
}

static void conv_row(const kernel_memory *m, const conv_words *p, const scales *s, const int8_t *from, int32_t y,
                     int8_t *to)
{
    const bool direct = pointwise(p);
    const int32_t n = p->k_h * p->k_w * (p->in_c / p->groups), channels = p->out_c / p->groups;
    const int8_t *weights = (const int8_t *)source(m, p->weights);
    int8_t *patch = (int8_t *)target(m, p->scratch);
    for (int32_t x = 0; x < p->out_w; x += 2) {
        const bool pair = x + 1 < p->out_w;
        for (int32_t g = 0; g < p->groups; g++) {
            const int8_t *a = patch, *b = patch + n;
            if (direct) {
                a = from + ((ptrdiff_t)y * p->stride_h * p->in_w + (ptrdiff_t)x * p->stride_w) * p->in_c;
                b = a + (ptrdiff_t)p->stride_w * p->in_c;
            } else {
                gather(p, from, y, x, g, patch);
                if (pair)
                    gather(p, from, y, x + 1, g, patch + n);
            }
            pixels(s, a, pair ? b : a, weights + (ptrdiff_t)g * channels * n, n, g * channels, channels, to,
                   pair ? p->out_c : 0);
        }
        to += 2 * p->out_c;
    }
}

static void conv_run(const kernel_memory *m, const int32_t *words)
{
    const conv_words *p = (const void *)words;
    const scales s = scales_of(m, &p->out);
    const int8_t *from = (const int8_t *)source(m, p->from);
    int8_t *to = (int8_t *)target(m, p->to);
    for (int32_t b = 0; b < p->batches; b++, from += (ptrdiff_t)p->in_h * p->in_w * p->in_c)
        for (int32_t y = 0; y < p->out_h; y++, to += (ptrdiff_t)p->out_w * p->out_c)
            conv_row(m, p, &s, from, y, to);
}

KERNEL(conv, conv_words);

/* --- depthwise convolution: weights [k_h, k_w, out_c], out_c = in_c * groups ------------------------ */

static bool depthwise_check(const kernel_memory *m, const int32_t *words)
{
    const conv_words *p = (const void *)words;
    const int32_t w[] = {p->k_h, p->k_w, p->out_c};
    const uint64_t taps = product(w, 3);
    return taps != UINT64_MAX && (int64_t)p->in_c * p->groups == p->out_c &&
           conv_shapes(m, p, taps, 4u * (uint64_t)(uint32_t)p->out_c);
}

static void tap(const conv_words *p, const int8_t *x, const int8_t *w, int32_t *sums)
{
    const int32_t zero = p->in_zero_point;
    if (p->groups == 1) {
        for (int32_t c = 0; c < p->out_c; c++)
            sums[c] += (x[c] - zero) * w[c];
        return;
    }
    for (int32_t c = 0; c < p->in_c; c++)
        for (int32_t k = 0; k < p->groups; k++)
            *sums++ += (x[c] - zero) * *w++;
}

static void depthwise_pixel(const conv_words *p, const int8_t *from, const int8_t *weights, int32_t y, int32_t x,
                            int32_t *sums)
{
    for (int32_t ky = 0; ky < p->k_h; ky++) {
        const int32_t iy = y * p->stride_h - p->pad_h + ky * p->dilation_h;
        if (iy < 0 || iy >= p->in_h)
            continue;
        for (int32_t kx = 0; kx < p->k_w; kx++) {
            const int32_t ix = x * p->stride_w - p->pad_w + kx * p->dilation_w;
            if (ix >= 0 && ix < p->in_w)
                tap(p, from + ((ptrdiff_t)iy * p->in_w + ix) * p->in_c,
                    weights + ((ptrdiff_t)ky * p->k_w + kx) * p->out_c, sums);
        }
    }
}

static void depthwise_run(const kernel_memory *m, const int32_t *words)
{
    const conv_words *p = (const void *)words;
    const scales s = scales_of(m, &p->out);
    const int8_t *from = (const int8_t *)source(m, p->from), *weights = (const int8_t *)source(m, p->weights);
    int8_t *to = (int8_t *)target(m, p->to);
    int32_t *sums = (void *)target(m, p->scratch);
    for (int32_t b = 0; b < p->batches; b++, from += (ptrdiff_t)p->in_h * p->in_w * p->in_c)
        for (int32_t y = 0; y < p->out_h; y++)
            for (int32_t x = 0; x < p->out_w; x++) {
                memcpy(sums, s.bias, 4u * (size_t)p->out_c);
                depthwise_pixel(p, from, weights, y, x, sums);
                for (int32_t c = 0; c < p->out_c; c++)
                    *to++ = scaled(&s, c, sums[c]);
            }
}

KERNEL(depthwise, conv_words);

/* --- transposed convolution: weights [out_c, k_h, k_w, in_c]; in and out as the operator names them --- */

static bool transpose_conv_check(const kernel_memory *m, const int32_t *words)
{
    const conv_words *p = (const void *)words;
    const int32_t w[] = {p->out_c, p->k_h, p->k_w, p->in_c};
    const uint64_t taps = product(w, 4);
    return taps != UINT64_MAX && p->groups == 1 && conv_shapes(m, p, taps, 0);
}

/* Which input row or column meets tap k at output position o; -1 where none does. */
static int32_t met(int32_t o, int32_t k, int32_t pad, int32_t stride, int32_t limit)
{
    const int32_t at = o + pad - k;
    return at >= 0 && at % stride == 0 && at / stride < limit ? at / stride : -1;
}

static int32_t transpose_conv_sum(const conv_words *p, const int8_t *from, const int8_t *weights, int32_t y, int32_t x)
{
    int32_t sum = 0;
    for (int32_t ky = 0; ky < p->k_h; ky++) {
        const int32_t iy = met(y, ky, p->pad_h, p->stride_h, p->in_h);
        for (int32_t kx = 0; iy >= 0 && kx < p->k_w; kx++) {
            const int32_t ix = met(x, kx, p->pad_w, p->stride_w, p->in_w);
            if (ix < 0)
                continue;
            const int8_t *in = from + ((ptrdiff_t)iy * p->in_w + ix) * p->in_c;
            const int8_t *w = weights + ((ptrdiff_t)ky * p->k_w + kx) * p->in_c;
            for (int32_t c = 0; c < p->in_c; c++)
                sum += (in[c] - p->in_zero_point) * w[c];
        }
    }
    return sum;
}

static void transpose_conv_run(const kernel_memory *m, const int32_t *words)
{
    const conv_words *p = (const void *)words;
    const scales s = scales_of(m, &p->out);
    const int8_t *from = (const int8_t *)source(m, p->from), *weights = (const int8_t *)source(m, p->weights);
    const ptrdiff_t taps = (ptrdiff_t)p->k_h * p->k_w * p->in_c;
    int8_t *to = (int8_t *)target(m, p->to);
    for (int32_t b = 0; b < p->batches; b++, from += (ptrdiff_t)p->in_h * p->in_w * p->in_c)
        for (int32_t y = 0; y < p->out_h; y++)
            for (int32_t x = 0; x < p->out_w; x++)
                for (int32_t c = 0; c < p->out_c; c++)
                    *to++ = scaled(&s, c, add(transpose_conv_sum(p, from, weights + c * taps, y, x), s.bias[c]));
}

KERNEL(transpose_conv, conv_words);

/* --- matrix product of two activations ------------------------------------------------------------- */

typedef struct {
    operand a, b, to;
    int32_t batches, rows, columns, inner;
    int32_t a_batch, a_row, a_inner; /* steps in elements */
    int32_t b_batch, b_column, b_inner;
    int32_t a_zero_point, b_zero_point;
    int32_t multiplier, shift, zero_point, low, high;
    int32_t once; /* whether a sum is rounded once, not twice */
} matmul_words;

static bool strided(const kernel_memory *m, operand at, const int32_t counts[3], const int32_t steps[3])
{
    uint64_t last = 0;
    for (int i = 0; i < 3; i++) {
        if (!count_ok(counts[i]) || steps[i] < 0)
            return false;
        last += (uint64_t)(uint32_t)(counts[i] - 1) * (uint32_t)steps[i];
    }
    return readable(m, at, last + 1);
}

static bool matmul_check(const kernel_memory *m, const int32_t *words)
{
    const matmul_words *p = (const void *)words;
    const int32_t a_counts[] = {p->batches, p->rows, p->inner}, a_steps[] = {p->a_batch, p->a_row, p->a_inner};
    const int32_t b_counts[] = {p->batches, p->columns, p->inner}, b_steps[] = {p->b_batch, p->b_column, p->b_inner};
    const int32_t out[] = {p->batches, p->rows, p->columns};
    return strided(m, p->a, a_counts, a_steps) && strided(m, p->b, b_counts, b_steps) &&
           writable(m, p->to, product(out, 3)) && shift_ok(p->shift);
}

static void matmul_run(const kernel_memory *m, const int32_t *words)
{
    const matmul_words *p = (const void *)words;
    const int8_t *a = (const int8_t *)source(m, p->a), *b = (const int8_t *)source(m, p->b);
    int8_t *to = (int8_t *)target(m, p->to);
    for (int32_t batch = 0; batch < p->batches; batch++, a += p->a_batch, b += p->b_batch)
        for (int32_t r = 0; r < p->rows; r++)
            for (int32_t c = 0; c < p->columns; c++) {
                const int8_t *x = a + (ptrdiff_t)r * p->a_row, *y = b + (ptrdiff_t)c * p->b_column;
                int32_t sum = 0;
                for (int32_t i = 0; i < p->inner; i++, x += p->a_inner, y += p->b_inner)
                    sum += (*x - p->a_zero_point) * (*y - p->b_zero_point);
                const int32_t scaled_sum = p->once ? requantize_once(sum, p->multiplier, p->shift)
                                                   : requantize(sum, p->multiplier, p->shift);
                *to++ = (int8_t)clamp(add(scaled_sum, p->zero_point), p->low, p->high);
            }
}

KERNEL(matmul, matmul_words);
