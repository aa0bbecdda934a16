/* SPDX-License-Identifier: Apache-2.0
 * QEMU mps3-an547: a Cortex-M55 at 32 MHz with CMSDK UARTs. Register facts: Arm AN547, and QEMU's model of it. */
#include "port.h"

#include "board.h"

#define UART0 0x59303000u
#define UART_DATA (*(volatile uint32_t *)(UART0 + 0x00u))
#define UART_STATE (*(volatile uint32_t *)(UART0 + 0x04u))
#define UART_CTRL (*(volatile uint32_t *)(UART0 + 0x08u))
#define UART_INTERRUPT (*(volatile uint32_t *)(UART0 + 0x0Cu))
#define UART_BAUDDIV (*(volatile uint32_t *)(UART0 + 0x10u))
#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u
#define CTRL_TX_RX_RX_INTERRUPT (1u | 2u | 8u)
#define INTERRUPT_RX 2u

#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)
#define ICSR (*(volatile uint32_t *)0xE000ED04u)
#define ICSR_SYSTICK_PENDING (1u << 26)
#define NVIC_ISER1 (*(volatile uint32_t *)0xE000E104u)
#define UART0_RX_IRQ 33u

#define CLOCK_HZ 32000000u
#define PERIOD (CLOCK_HZ / 100u) /* the wake-up that ends a wait for bytes that do not come */

#define BLOB_BASE 0x72000000u
#define BLOB_STRIDE 0x01000000u
#define BLOB_SLOTS 8u

#define ARENA_SIZE 0x02000000u
static _Alignas(16) uint8_t arena[ARENA_SIZE] __attribute__((section(".arena")));

/* --- time -------------------------------------------------------------------------------------------- */

static volatile uint32_t periods;

void board_systick(void)
{
    periods++;
}

uint64_t port_ticks(void)
{
    uint32_t before, down, due;
    do { /* again where the counter wrapped in between */
        before = periods;
        down = SYST_CVR;
        due = ICSR & ICSR_SYSTICK_PENDING && down > PERIOD / 2u; /* wrapped, but its interrupt has yet to come */
    } while (before != periods);
    return (uint64_t)(before + due) * PERIOD + (PERIOD - 1u - down);
}

uint32_t port_ticks_per_second(void)
{
    return CLOCK_HZ;
}

/* --- serial line --------------------------------------------------------------------------------------- */

#define RING 4096u
static volatile uint8_t ring[RING];
static volatile uint32_t written, taken; /* free running; written by the interrupt only */
static volatile bool lost;

void board_uart_receive(void)
{
    UART_INTERRUPT = INTERRUPT_RX;
    while (UART_STATE & STATE_RX_FULL) {
        const uint8_t byte = (uint8_t)UART_DATA;
        if (written - taken < RING)
            ring[written++ % RING] = byte;
        else
            lost = true;
    }
}

void board_start(void)
{
    SYST_RVR = PERIOD - 1u;
    SYST_CVR = 0;
    SYST_CSR = 7u; /* on, with its interrupt, at the core's clock */
    UART_BAUDDIV = 35u;
    UART_CTRL = CTRL_TX_RX_RX_INTERRUPT;
    NVIC_ISER1 = 1u << (UART0_RX_IRQ - 32u);
    __asm__ volatile("cpsie i");
}

/* Sleep until an interrupt. They are masked from the check to the wfi, which wakes all the same. */
static void doze(void)
{
    __asm__ volatile("cpsid i" : : : "memory");
    if (written == taken)
        __asm__ volatile("wfi");
    __asm__ volatile("cpsie i" : : : "memory");
}

int port_getc(uint32_t timeout_ms)
{
    const uint64_t start = port_ticks();
    const int64_t limit = (int64_t)timeout_ms * (CLOCK_HZ / 1000u);
    for (uint32_t spins = 0; written == taken; spins++) {
        if (spins < 200u) /* the next byte of a packet is near */
            continue;
        if (timeout_ms != PORT_FOREVER && (int64_t)(port_ticks() - start) > limit)
            return PORT_TIMEOUT;
        doze();
    }
    return ring[taken++ % RING];
}

uint32_t port_received(void)
{
    return written - taken;
}

bool port_overrun(void)
{
    const bool was = lost;
    lost = false;
    return was;
}

void port_write(const uint8_t *data, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        while (UART_STATE & STATE_TX_FULL)
            ;
        UART_DATA = data[i];
    }
}

/* --- stack --------------------------------------------------------------------------------------------- */

#define PAINT 0x57AC57ACu
#define PAINTED_BYTES 0x8000u

extern uint32_t stack_low[], stack_top[];
static uint32_t *painted_from, *painted_to;

void port_stack_mark(void)
{
    uint32_t here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    const uint32_t low = (uint32_t)stack_low;
    painted_to = (uint32_t *)((here - 64u) & ~3u); /* below what this function itself uses */
    painted_from = (uint32_t *)(here - PAINTED_BYTES > low ? here - PAINTED_BYTES : low);
    for (volatile uint32_t *at = painted_from; at < painted_to; at++)
        *at = PAINT;
}

int32_t port_stack_used(void)
{
    const uint32_t *at = painted_from;
    while (at < painted_to && *at == PAINT)
        at++;
    return painted_from ? (int32_t)((uint32_t)stack_top - (uint32_t)at) : -1;
}

/* --- memory -------------------------------------------------------------------------------------------- */

typedef struct {
    uint32_t start, size;
    bool write;
} region;

static const region regions[] = {
    {0x00000000u, 0x00080000u, false}, /* code */
    {0x30000000u, 0x00080000u, false}, /* data and stack */
    {0x11000000u, 0x00200000u, true},  /* SRAM, not used */
    {0x31000000u, 0x00400000u, true},  /* SRAM, not used */
    {0x60000000u, 0x40000000u, true},  /* DDR: arena, blobs and what is free */
};

void *port_memory(uint32_t address, uint32_t size, bool write)
{
    for (uint32_t i = 0; i < sizeof regions / sizeof *regions; i++) {
        const region *r = &regions[i];
        if (address >= r->start && address - r->start < r->size && size <= r->size - (address - r->start))
            return !write || r->write ? (void *)address : NULL;
    }
    return NULL;
}

uint32_t port_address(const void *pointer)
{
    return (uint32_t)pointer;
}

uint8_t *port_arena(uint32_t *size)
{
    *size = ARENA_SIZE;
    return arena;
}

const uint8_t *port_blob(uint32_t slot, uint32_t *size)
{
    *size = BLOB_STRIDE;
    return slot < BLOB_SLOTS ? (const uint8_t *)(BLOB_BASE + slot * BLOB_STRIDE) : NULL;
}

void port_system_info(port_system *info)
{
    info->device_id = 0x155; /* Corstone SSE-300: what QEMU emulates, not an STM32 */
    info->core_hz = CLOCK_HZ;
    info->bus_hz = CLOCK_HZ;
    info->cache = 1u << 16; /* FPU; no caches */
}
