/* SPDX-License-Identifier: Apache-2.0
 * Integer kernels. Each has a parameter block of 32-bit words, a check of all its operands and a run. The arithmetic is
 * bit for bit that of the LiteRT kernel which docs/kernels.md names for the operator: mostly the reference kernel. */
#ifndef EDGEAI_KERNELS_H
#define EDGEAI_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { K_FILL, K_COPY, K_NEAREST, K_BILINEAR, K_CONV, K_DEPTHWISE, K_TRANSPOSE_CONV, K_MATMUL, K_ADD, K_MUL, K_EXTREME,
       K_LUT8, K_LUT32, K_QUANTIZE, K_POOL, K_SOFTMAX, K_REDUCE, K_ARG,
       K_SOFTMAX_TABLE, K_COUNT };

typedef struct {
    uint8_t *arena;
    uint32_t arena_bytes;
    const uint8_t *consts;
    uint32_t const_bytes;
} kernel_memory;

/* An operand: an offset into the arena, or, with the highest bit set, into the constants. */
typedef uint32_t operand;
#define OPERAND_CONST 0x80000000u

bool kernel_check(const kernel_memory *memory, uint32_t kernel, const int32_t *words, uint32_t n_words);
void kernel_run(const kernel_memory *memory, uint32_t kernel, const int32_t *words);

/* --- what the kernels share ------------------------------------------------------------------------ */

#define MAX_DIMS 6

static inline const uint8_t *source(const kernel_memory *m, operand at)
{
    return at & OPERAND_CONST ? m->consts + (at & ~OPERAND_CONST) : m->arena + at;
}

static inline uint8_t *target(const kernel_memory *m, operand at)
{
    return m->arena + at;
}

/* Whether `bytes` from an operand on lie in its memory. */
bool readable(const kernel_memory *m, operand at, uint64_t bytes);
bool writable(const kernel_memory *m, operand at, uint64_t bytes);

/* A number of things: positive, and small enough that products of three fit 64 bits. */
static inline bool count_ok(int32_t n)
{
    return n > 0 && n < 1 << 24;
}

/* Product of counts, UINT64_MAX where one is not ok or it exceeds 32 bits. */
uint64_t product(const int32_t *counts, uint32_t n);

static inline int32_t clamp(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* gemmlowp's fixed-point arithmetic, as LiteRT uses it. */

static inline int32_t doubling_high_mul(int32_t a, int32_t b)
{
    if (a == INT32_MIN && b == INT32_MIN)
        return INT32_MAX;
    const int64_t product64 = (int64_t)a * b;
    const int64_t nudge = product64 >= 0 ? 1 << 30 : 1 - (1 << 30);
    return (int32_t)((product64 + nudge) / ((int64_t)1 << 31));
}

static inline int32_t rounding_shift_right(int32_t x, int32_t exponent)
{
    const int32_t mask = (int32_t)(((int64_t)1 << exponent) - 1);
    const int32_t remainder = x & mask;
    const int32_t threshold = (mask >> 1) + (x < 0);
    return (x >> exponent) + (remainder > threshold);
}

static inline int32_t shift_left(int32_t x, int32_t exponent)
{
    return (int32_t)((uint32_t)x << exponent);
}

/* A multiplier is a mantissa of 31 bits and an exponent, positive to the left. */
static inline bool shift_ok(int32_t shift)
{
    return shift >= -31 && shift <= 30;
}

static inline int32_t requantize(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    return rounding_shift_right(doubling_high_mul(shift_left(x, left), multiplier), right);
}

/* The same, rounded once, halves away from zero: LiteRT's FULLY_CONNECTED. */
static inline int32_t requantize_once(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t total = 31 - shift; /* 1 to 62 */
    const int64_t size = (x < 0 ? -(int64_t)x : (int64_t)x) * multiplier;
    const int64_t rounded = (size + ((int64_t)1 << (total - 1))) >> total;
    const int64_t whole = rounded > INT32_MAX ? INT32_MAX : rounded;
    return (int32_t)(x < 0 ? -whole : whole);
}

/* The kernels: conv.c, elementwise.c, move.c, reduce.c, softmax.c. */
typedef struct {
    bool (*check)(const kernel_memory *memory, const int32_t *words);
    void (*run)(const kernel_memory *memory, const int32_t *words);
    uint32_t n_words;
} kernel;

extern const kernel kernel_fill, kernel_copy, kernel_nearest, kernel_bilinear;
extern const kernel kernel_conv, kernel_depthwise, kernel_transpose_conv, kernel_matmul;
extern const kernel kernel_add, kernel_mul, kernel_extreme, kernel_lut8, kernel_lut32, kernel_quantize;
extern const kernel kernel_pool, kernel_reduce, kernel_arg, kernel_softmax, kernel_softmax_table;

#define KERNEL(name, type) \
    const kernel kernel_##name = {name##_check, name##_run, sizeof(type) / sizeof(int32_t)}

#endif
