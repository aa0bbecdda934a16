/* SPDX-License-Identifier: Apache-2.0
 *
 * The post-processing over a file of recorded network outputs: check.in to check.out, on any port.
 * Little-endian throughout. Input: u32 records; each: request, then the bytes of every output in order.
 * Output, for each: answer; the detections, each followed (masks asked for) by its box as 4 x u16 and its rows; u32 ticks
 * of all masks.
 */
#include "edgeai_postprocess.h"
#include "port.h"

typedef struct {
    uint32_t width, height;
    float score_threshold, iou_threshold;
    uint32_t max_detections;
    uint32_t masks;
} request;

typedef struct {
    int32_t count;
    uint32_t above_threshold;
    uint32_t detect_ticks;
} answer;

static const uint32_t output_bytes[EDGEAI_PP_OUTPUTS] = EDGEAI_PP_OUTPUT_BYTES;

#define OUTPUT_ROOM (1u << 25)
static uint8_t PORT_LARGE arena[OUTPUT_ROOM];
static uint8_t PORT_LARGE pixels[1u << 25];
static edgeai_pp_workspace PORT_LARGE work;
static edgeai_pp_detection PORT_LARGE found[EDGEAI_PP_MAX_DETECTIONS];

static int read_outputs(const void **outputs)
{
    size_t used = 0;
    for (uint32_t i = 0; i < EDGEAI_PP_OUTPUTS; ++i) {
        if (output_bytes[i] > OUTPUT_ROOM - used || !port_read(arena + used, output_bytes[i])) {
            return 0;
        }
        outputs[i] = arena + used;
        used += output_bytes[i];
    }
    return 1;
}

#if EDGEAI_PP_COEFS > 0
static uint32_t write_mask(const void *const *outputs, const edgeai_pp_view *view, const edgeai_pp_detection *one)
{
    static edgeai_pp_mask mask;
    port_start();
    edgeai_pp_mask_begin(outputs, view, one, &mask);
    const size_t row_bytes = (size_t)(mask.x2 - mask.x1);
    size_t used = 0;
    for (uint16_t y = mask.y1; y < mask.y2; ++y) {
        edgeai_pp_mask_row(&mask, y, pixels + used);
        used += row_bytes;
    }
    const uint32_t ticks = port_ticks();
    const uint16_t corners[4] = {mask.x1, mask.y1, mask.x2, mask.y2};
    port_write(corners, sizeof corners);
    port_write(pixels, used);
    return ticks;
}
#else
static uint32_t write_mask(const void *const *outputs, const edgeai_pp_view *view, const edgeai_pp_detection *one)
{
    (void)outputs, (void)view, (void)one;
    return 0;
}
#endif

int main(void)
{
    uint32_t records = 0;
    const void *outputs[EDGEAI_PP_OUTPUTS];
    port_open("check.in", "check.out");
    if (!port_read(&records, sizeof records)) {
        return 2;
    }
    for (uint32_t i = 0; i < records; ++i) {
        request asked;
        if (!port_read(&asked, sizeof asked) || !read_outputs(outputs)) {
            return 2;
        }
        const edgeai_pp_settings settings = {asked.score_threshold, asked.iou_threshold,
                                             (uint16_t)asked.max_detections};
        edgeai_pp_view view;
        answer given = {.count = edgeai_pp_letterbox(asked.width, asked.height, &view)};
        if (given.count == 0) {
            port_start();
            given.count = edgeai_pp_detect(outputs, &view, &settings, &work, found);
            given.detect_ticks = port_ticks();
            given.above_threshold = work.above_threshold;
        }
        port_write(&given, sizeof given);
        uint32_t mask_ticks = 0;
        for (int32_t k = 0; k < given.count; ++k) {
            port_write(&found[k], sizeof found[k]);
            if (asked.masks) {
                mask_ticks += write_mask(outputs, &view, &found[k]);
            }
        }
        port_write(&mask_ticks, sizeof mask_ticks);
    }
    return 0;
}
