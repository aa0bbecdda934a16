/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EDGEAI_BENCH_H
#define EDGEAI_BENCH_H

#include <stdbool.h>

/* Wait for one request and answer it. False where the line is gone for good. */
bool bench_serve(void);

#endif
