/* SPDX-License-Identifier: Apache-2.0
 * From reset to bench_serve. A fault ends the emulator with status 2, by semihosting. */
#include <stdint.h>
#include <stdnoreturn.h>

#include "bench.h"
#include "board.h"

extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[];
extern uint32_t stack_top[];

#define CPACR (*(volatile uint32_t *)0xE000ED88u)
#define SEMIHOSTING_EXIT_EXTENDED 0x20u
#define ADP_STOPPED_APPLICATION_EXIT 0x20026u

noreturn void reset(void);

noreturn void board_exit(uint32_t status)
{
    const uint32_t block[2] = {ADP_STOPPED_APPLICATION_EXIT, status};
    register uint32_t operation __asm__("r0") = SEMIHOSTING_EXIT_EXTENDED;
    register const uint32_t *parameter __asm__("r1") = block;
    __asm__ volatile("bkpt 0xAB" : : "r"(operation), "r"(parameter) : "memory");
    for (;;)
        __asm__ volatile("wfi");
}

static void fault(void)
{
    board_exit(2);
}

noreturn void reset(void)
{
    CPACR |= 0xFu << 20; /* floating point and vectors */
    __asm__ volatile("dsb\n isb" : : : "memory");
    const uint32_t *from = data_load;
    for (uint32_t *to = data_start; to < data_end;)
        *to++ = *from++;
    for (uint32_t *to = bss_start; to < bss_end;)
        *to++ = 0;
    board_start();
    while (bench_serve())
        ;
    board_exit(0);
}

/* 16 exceptions of the core, then the interrupts of the machine; UART0 receive is number 33. */
typedef void (*vector)(void);
__attribute__((section(".vectors"), used)) static const vector vectors[16 + 34] = {
    [0] = (vector)(uintptr_t)stack_top,
    [1] = reset, [2] = fault, [3] = fault, [4] = fault, [5] = fault, [6] = fault, [7] = fault,
    [11] = fault, [12] = fault, [14] = fault, [15] = board_systick,
    [16 + 33] = board_uart_receive,
};
