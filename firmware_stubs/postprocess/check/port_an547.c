/* SPDX-License-Identifier: Apache-2.0
 *
 * Start-up and files for QEMU's mps3-an547 (Cortex-M55). Files go through semihosting; SysTick counts instructions under
 * -icount. Semihosting operations: Arm, "Semihosting for AArch32 and AArch64".
 */
#include <string.h>

#include "port.h"

enum { SYS_OPEN = 0x01, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT_EXTENDED = 0x20 };
enum { MODE_READ_BINARY = 1, MODE_WRITE_BINARY = 5, STOPPED_BY_APPLICATION = 0x20026 };

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYSTICK_CONTROL REGISTER(0xE000E010)
#define SYSTICK_RELOAD REGISTER(0xE000E014)
#define SYSTICK_VALUE REGISTER(0xE000E018)
#define COPROCESSOR_ACCESS REGISTER(0xE000ED88)
#define TICKS_MASK 0x00FFFFFFu

extern uint32_t stack_top, bss_begin, bss_end;
int main(void);

static uintptr_t input;
static uintptr_t output;

static uintptr_t semihost(uintptr_t operation, const void *block)
{
    register uintptr_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = block;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void leave(uintptr_t status)
{
    const uintptr_t block[2] = {STOPPED_BY_APPLICATION, status};
    for (;;) {
        semihost(SYS_EXIT_EXTENDED, block);
    }
}

static uintptr_t opened(const char *name, uintptr_t mode)
{
    const uintptr_t block[3] = {(uintptr_t)name, mode, strlen(name)};
    const uintptr_t handle = semihost(SYS_OPEN, block);
    if (handle == (uintptr_t)-1) {
        leave(2);
    }
    return handle;
}

void port_open(const char *input_name, const char *output_name)
{
    input = opened(input_name, MODE_READ_BINARY);
    output = opened(output_name, MODE_WRITE_BINARY);
}

int port_read(void *data, size_t bytes)
{
    const uintptr_t block[3] = {input, (uintptr_t)data, bytes};
    return semihost(SYS_READ, block) == 0;
}

void port_write(const void *data, size_t bytes)
{
    const uintptr_t block[3] = {output, (uintptr_t)data, bytes};
    if (semihost(SYS_WRITE, block) != 0) {
        leave(2);
    }
}

void port_start(void)
{
    SYSTICK_RELOAD = TICKS_MASK;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 5; /* processor clock, no interrupt */
}

uint32_t port_ticks(void)
{
    const uint32_t now = SYSTICK_VALUE;
    /* bit 16: it reached zero since it was last read, so the count is not known */
    return SYSTICK_CONTROL & (1u << 16) ? UINT32_MAX : TICKS_MASK - now;
}

void reset_handler(void)
{
    COPROCESSOR_ACCESS |= 0xFu << 20; /* floating point and MVE */
    __asm__ volatile("dsb\n isb" ::: "memory");
    memset(&bss_begin, 0, (size_t)((uintptr_t)&bss_end - (uintptr_t)&bss_begin));
    leave((uintptr_t)main());
}

static void fault_handler(void) { leave(3); }

typedef union {
    void *stack;
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    {&stack_top},
    {.handler = reset_handler},
    {.handler = fault_handler}, /* NMI */
    {.handler = fault_handler}, /* hard fault */
    {.handler = fault_handler}, /* memory management */
    {.handler = fault_handler}, /* bus fault */
    {.handler = fault_handler}, /* usage fault */
    {.handler = fault_handler}, /* secure fault */
};
