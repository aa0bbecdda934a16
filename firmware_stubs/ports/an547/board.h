/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EDGEAI_AN547_BOARD_H
#define EDGEAI_AN547_BOARD_H

#include <stdint.h>
#include <stdnoreturn.h>

void board_start(void);
void board_systick(void);
void board_uart_receive(void);
noreturn void board_exit(uint32_t status);

#endif
