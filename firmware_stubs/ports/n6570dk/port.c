/* SPDX-License-Identifier: Apache-2.0
 * STM32N6570-DK, on top of ST's HAL. Build notes: README.md beside this file.
 *
 * The board's own start-up code sets up clocks, memories and USART1, and then calls bench_serve for ever. */
#include "port.h"

#include "stm32n6xx_hal.h" /* the user's STM32CubeN6 */

extern UART_HandleTypeDef huart1; /* USART1 at 921600 baud, the ST-LINK's virtual COM port */

#define STM32N6_DEVICE_ID 0x486u

#ifndef BENCH_NPU_HZ
#define BENCH_NPU_HZ 1000000000u
#endif
#ifndef BENCH_NIC_HZ
#define BENCH_NIC_HZ 900000000u
#endif

/* --- time: the cycle counter, extended to 64 bits ------------------------------------------------------ */

uint64_t port_ticks(void)
{
    static uint32_t last, wraps; /* asked at least once in 5 s, which is a wrap at 800 MHz: HAL_IncTick sees to it */
    const uint32_t primask = __get_PRIMASK();
    __disable_irq();
    const uint32_t now = DWT->CYCCNT;
    wraps += now < last;
    last = now;
    const uint64_t ticks = (uint64_t)wraps << 32 | now;
    __set_PRIMASK(primask);
    return ticks;
}

uint32_t port_ticks_per_second(void)
{
    return HAL_RCC_GetCpuClockFreq();
}

/* --- serial line: the interrupt fills a ring ------------------------------------------------------------- */

#define RING 4096u
static volatile uint8_t ring[RING];
static volatile uint32_t written, taken;
static volatile bool lost;

/* To be called from USART1_IRQHandler. */
void board_uart_receive(void)
{
    while (__HAL_UART_GET_FLAG(&huart1, UART_FLAG_RXNE)) {
        const uint8_t byte = (uint8_t)huart1.Instance->RDR;
        if (written - taken < RING)
            ring[written++ % RING] = byte;
        else
            lost = true;
    }
    if (__HAL_UART_GET_FLAG(&huart1, UART_FLAG_ORE)) {
        __HAL_UART_CLEAR_OREFLAG(&huart1);
        lost = true;
    }
}

/* To be called once, after HAL and USART1 are up. */
void board_start(void)
{
    CoreDebug->DEMCR |= CoreDebug_DEMCR_TRCENA_Msk;
    DWT->CYCCNT = 0;
    DWT->CTRL |= DWT_CTRL_CYCCNTENA_Msk;
    __HAL_UART_ENABLE_IT(&huart1, UART_IT_RXNE);
    HAL_NVIC_EnableIRQ(USART1_IRQn);
}

int port_getc(uint32_t timeout_ms)
{
    const uint32_t start = HAL_GetTick();
    while (written == taken) {
        if (timeout_ms != PORT_FOREVER && HAL_GetTick() - start > timeout_ms)
            return PORT_TIMEOUT;
        (void)port_ticks(); /* the 1 ms tick wakes us: no wrap is missed */
        __disable_irq();
        if (written == taken)
            __WFI();
        __enable_irq();
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
    (void)HAL_UART_Transmit(&huart1, data, (uint16_t)size, HAL_MAX_DELAY); /* never more than one packet */
}

/* --- facts ------------------------------------------------------------------------------------------------ */

void port_system_info(port_system *info)
{
    info->device_id = STM32N6_DEVICE_ID;
    info->core_hz = HAL_RCC_GetCpuClockFreq();
    info->bus_hz = HAL_RCC_GetHCLKFreq();
    info->cache = 5u << 24 | 1u << 16 | (SCB->CCR & SCB_CCR_DC_Msk ? 1u << 11 : 0) |
                  (SCB->CCR & SCB_CCR_IC_Msk ? 1u << 10 : 0);
    info->n_extra = 4;
    info->extra[1] = BENCH_NPU_HZ;
    info->extra[2] = BENCH_NIC_HZ;
}

void port_stack_mark(void)
{
}

int32_t port_stack_used(void)
{
    return -1;
}

/* --- memory -------------------------------------------------------------------------------------------------- */

typedef struct {
    uint32_t start, size;
    bool write;
} region;

/* AXISRAM3..6 belong to the network, the octo flash is read only. The application's own RAM is not listed. */
static const region regions[] = {
    {0x34200000u, 0x001C0000u, true},
    {0x70000000u, 0x08000000u, false},
    {0x90000000u, 0x02000000u, true},
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

/* For our own kernels: activations in AXISRAM3..6, model blobs in octo flash behind the application. */
uint8_t *port_arena(uint32_t *size)
{
    *size = 0x001C0000u;
    return (uint8_t *)0x34200000u;
}

#define BLOB_BASE 0x71000000u
#define BLOB_STRIDE 0x01000000u

const uint8_t *port_blob(uint32_t slot, uint32_t *size)
{
    *size = BLOB_STRIDE;
    return slot < 4u ? (const uint8_t *)(BLOB_BASE + slot * BLOB_STRIDE) : NULL;
}
