/* SPDX-License-Identifier: Apache-2.0
 * Fuzzing: what the host sends, byte for byte. With libFuzzer (clang -fsanitize=fuzzer), or built with FUZZ_REPLAY as a
 * program that plays the files on its command line. The first argument, or $BENCH_BLOB, is a model blob. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"
#include "board.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    const char *blob = getenv("BENCH_BLOB");
    return blob && !board_load(blob) ? 1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    board_line_memory(data, size);
    while (bench_serve())
        ;
    return 0;
}

#ifdef FUZZ_REPLAY
static uint8_t frame[1 << 20];

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize(&argc, &argv))
        return 1;
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file)
            return 1;
        const size_t size = fread(frame, 1, sizeof frame, file);
        fclose(file);
        LLVMFuzzerTestOneInput(frame, size);
    }
    return 0;
}
#endif
