/* SPDX-License-Identifier: Apache-2.0
 * System calls of 64-bit Arm Linux: numbers from include/uapi/asm-generic/unistd.h, the calling convention from
 * syscall(2). Structures are those of the kernel's 64-bit ABI. */
#include "linux.h"

#include <math.h>
#include <string.h>

#include "port.h"

enum {
    SYS_OPENAT = 56, SYS_CLOSE = 57, SYS_READ = 63, SYS_WRITE = 64, SYS_EXIT_GROUP = 94, SYS_CLOCK_GETTIME = 113,
    SYS_GETRUSAGE = 165,
};
enum { AT_FDCWD = -100, O_WRITE_CREATE_TRUNCATE = 01 | 0100 | 01000, EINTR = 4 };
enum { CLOCK_MONOTONIC = 1, RUSAGE_SELF = 0 };

#define ARENA_BYTES (64u << 20)
#define BLOB_BYTES (64u << 20)

static _Alignas(64) uint8_t arena[ARENA_BYTES]; /* pages that nobody touches take no memory */
static _Alignas(64) uint8_t blob[BLOB_BYTES];
static uint32_t blob_bytes;

static long call(long number, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory", "cc");
    return x0;
}

__attribute__((noreturn, used)) static void entered(long *stack)
{
    const int status = bench((int)stack[0], (char **)(stack + 1));
    for (;;)
        call(SYS_EXIT_GROUP, status, 0, 0, 0);
}

__asm__(".globl _start\n_start:\n  mov x29, #0\n  mov x30, #0\n  mov x0, sp\n  b entered\n");

/* --- files ------------------------------------------------------------------------------------------ */

int os_open(const char *name, bool write)
{
    const long file = call(SYS_OPENAT, AT_FDCWD, (long)name, write ? O_WRITE_CREATE_TRUNCATE : 0, 0644);
    return file < 0 ? -1 : (int)file;
}

void os_close(int file) { call(SYS_CLOSE, file, 0, 0, 0); }

/* As many bytes as there are, up to `size`. */
static size_t transferred(long number, int file, uint8_t *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        const long n = call(number, file, (long)(data + done), (long)(size - done), 0);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done;
}

bool os_read(int file, void *data, size_t size) { return transferred(SYS_READ, file, data, size) == size; }

bool os_write(int file, const void *data, size_t size)
{
    return transferred(SYS_WRITE, file, (uint8_t *)(uintptr_t)data, size) == size;
}

void os_print(int file, const char *text)
{
    size_t size = 0;
    while (text[size] != '\0')
        ++size;
    os_write(file, text, size);
}

bool linux_load(const char *name)
{
    const int file = os_open(name, false);
    if (file < 0)
        return false;
    blob_bytes = (uint32_t)transferred(SYS_READ, file, blob, sizeof blob);
    os_close(file);
    return blob_bytes > 0;
}

uint64_t linux_peak_bytes(void)
{
    struct {
        int64_t times[4];
        int64_t peak_kib;
        int64_t others[13];
    } usage = {.peak_kib = 0};
    call(SYS_GETRUSAGE, RUSAGE_SELF, (long)&usage, 0, 0);
    return (uint64_t)usage.peak_kib * 1024;
}

/* --- what the runtime needs of a board ------------------------------------------------------------------ */

uint64_t port_ticks(void)
{
    struct {
        int64_t seconds, nanoseconds;
    } now = {0};
    call(SYS_CLOCK_GETTIME, CLOCK_MONOTONIC, (long)&now, 0, 0);
    return (uint64_t)now.seconds * 1000000000u + (uint64_t)now.nanoseconds;
}

uint8_t *port_arena(uint32_t *size)
{
    *size = sizeof arena;
    return arena;
}

const uint8_t *port_blob(uint32_t slot, uint32_t *size)
{
    *size = blob_bytes;
    return slot == 0 && blob_bytes > 0 ? blob : NULL;
}

/* --- what the compiler and the runtime expect of a C library ---------------------------------------------- */

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    uint8_t *a = to;
    const uint8_t *b = from;
    while (size-- > 0)
        *a++ = *b++;
    return to;
}

void *memset(void *to, int value, size_t size)
{
    uint8_t *a = to;
    while (size-- > 0)
        *a++ = (uint8_t)value;
    return to;
}

void *memchr(const void *in, int value, size_t size)
{
    for (const uint8_t *a = in; size-- > 0; ++a)
        if (*a == (uint8_t)value)
            return (void *)(uintptr_t)a;
    return NULL;
}

float roundf(float value)
{
    float rounded;
    __asm__("frinta %s0, %s1" : "=w"(rounded) : "w"(value));
    return rounded;
}
