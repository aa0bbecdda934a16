/* SPDX-License-Identifier: Apache-2.0
 *
 * From the quantised outputs of a YOLO network to boxes, classes and instance masks, on the device.
 *
 * Reads the three head layouts (raw, split, concat) as int8 or uint8. No dynamic memory, no libm, no recursion; all
 * work and all memory is bounded by the limits in postprocess_config.h. That header and postprocess_network.c, which
 * holds scales, strides and look-up tables, are written for one model file by `edgeai postprocess MODEL.tflite`.
 *
 * Order of work, cheapest first:
 *   1. scores are compared with the threshold as quantised bytes; only the survivors go on,
 *   2. the best EDGEAI_PP_MAX_CANDIDATES of them are kept and sorted,
 *   3. in that order each box is decoded when its turn comes, and compared with the boxes of its class that stay,
 *   4. a mask is made row by row, on request, straight at the size of the image.
 *
 * Nothing here is kept between calls: use one workspace per task and the functions are reentrant.
 *
 *     static edgeai_pp_workspace work;
 *     static edgeai_pp_detection found[EDGEAI_PP_MAX_DETECTIONS];
 *     static uint8_t row[LCD_WIDTH];
 *
 *     edgeai_pp_view view;
 *     edgeai_pp_letterbox(LCD_WIDTH, LCD_HEIGHT, &view);
 *     int count = edgeai_pp_detect(outputs, &view, &edgeai_pp_defaults, &work, found);
 *     for (int i = 0; i < count; ++i) {
 *         edgeai_pp_mask mask;
 *         edgeai_pp_mask_begin(outputs, &view, &found[i], &mask);
 *         for (uint16_t y = mask.y1; y < mask.y2; ++y) {
 *             edgeai_pp_mask_row(&mask, y, row);
 *             blend(mask.x1, y, row, mask.x2 - mask.x1, colour[found[i].class_id]);
 *         }
 *     }
 */
#ifndef EDGEAI_POSTPROCESS_H
#define EDGEAI_POSTPROCESS_H

#include <stdint.h>

#include "postprocess_config.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EDGEAI_PP_LEVELS 256          /* values a quantised byte can have */
#define EDGEAI_PP_MAX_IMAGE_SIDE 8192 /* keeps every product of the mask interpolation within 64 bits */

#define EDGEAI_PP_BAD_ARGUMENT (-1)

/* --- the network, written by edgeai ------------------------------------------------------------------------------ */

/* A table [anchors, channels] inside an output. Element (a, c) is byte `first + a * anchor_step + c * channel_step`.
 * real = scale * (level - zero_level), where level is 0 for the lowest quantised value and 255 for the highest. */
typedef struct {
    uint16_t output; /* place among the outputs of the network */
    int16_t zero_level;
    uint32_t first;
    uint32_t anchor_step;
    uint32_t channel_step;
    float scale;
} edgeai_pp_tensor;

/* A group of anchors that share their tensors: one per stride in layout raw, a single one otherwise. */
typedef struct {
    uint32_t anchors;
    uint16_t columns; /* cells in a row of the grid; layout raw */
    uint16_t stride;  /* pixels per cell; layout raw */
    edgeai_pp_tensor scores;
    edgeai_pp_tensor boxes;
    edgeai_pp_tensor coefs;
    const float *score_of;      /* [256] the score of every level, ascending */
    const uint32_t *dfl_weight; /* [256] exp(-d * scale) in fixed point, d levels below the maximum; layout raw */
} edgeai_pp_group;

typedef struct {
    uint8_t flip;   /* 0x80 turns an int8 into its level, 0 an uint8 */
    float box_unit; /* pixels per unit of a decoded box; layouts split and concat */
    edgeai_pp_group groups[EDGEAI_PP_GROUPS];
    edgeai_pp_tensor proto; /* an anchor is a prototype pixel, row by row */
    const char *const *class_names;
} edgeai_pp_network;

extern const edgeai_pp_network edgeai_pp_this_network;

/* --- what an application uses -------------------------------------------------------------------------------------- */

typedef struct {
    float score_threshold;   /* a candidate has a score above it; 0 <= t < 1 */
    float iou_threshold;     /* a box falls to a better one of its class with a greater IoU */
    uint16_t max_detections; /* at most EDGEAI_PP_MAX_DETECTIONS */
} edgeai_pp_settings;

/* The thresholds `edgeai postprocess` was called with. */
extern const edgeai_pp_settings edgeai_pp_defaults;

/* How the image lies in the square input: letterboxed = image * ratio + pad. `proto_*` is the part of the prototypes
 * that the image covers, ends excluded. */
typedef struct {
    uint16_t width;
    uint16_t height;
    uint16_t pad_left;
    uint16_t pad_top;
    float ratio;
    uint16_t proto_top;
    uint16_t proto_bottom;
    uint16_t proto_left;
    uint16_t proto_right;
} edgeai_pp_view;

typedef struct {
    float x1, y1, x2, y2; /* pixels of the image, clipped to it */
    float score;
    uint16_t class_id;
    uint16_t group; /* with `anchor`: where the mask coefficients are */
    uint32_t anchor;
} edgeai_pp_detection;

typedef struct {
    float score;
    uint32_t anchor; /* counted through all groups */
    uint32_t class_id;
} edgeai_pp_candidate;

typedef struct {
    float x1, y1, x2, y2; /* pixels of the input */
} edgeai_pp_box;

/* Scratch memory of edgeai_pp_detect. `above_threshold` tells afterwards how many scores passed: where it is more than
 * EDGEAI_PP_MAX_CANDIDATES the worst of them were dropped. */
typedef struct {
    uint32_t above_threshold;
    uint32_t count;
    edgeai_pp_candidate candidates[EDGEAI_PP_MAX_CANDIDATES];
    edgeai_pp_box kept[EDGEAI_PP_MAX_DETECTIONS];
} edgeai_pp_workspace;

/* The view of an image of `width` x `height` pixels that was scaled into the input with its aspect kept, and centred.
 * For an input that was filled otherwise pass the input's own size, and scale the boxes yourself.
 * Returns 0, or EDGEAI_PP_BAD_ARGUMENT for a side of 0 or beyond EDGEAI_PP_MAX_IMAGE_SIDE. */
int edgeai_pp_letterbox(uint32_t width, uint32_t height, edgeai_pp_view *view);

/* The detections of one image, best first; of equal scores the later anchor comes first: it is of the coarser level.
 * `outputs[i]` is output i of the network, in the order of the file; `found` has EDGEAI_PP_MAX_DETECTIONS places.
 * Returns their number, or EDGEAI_PP_BAD_ARGUMENT. */
int edgeai_pp_detect(const void *const *outputs, const edgeai_pp_view *view, const edgeai_pp_settings *settings,
                     edgeai_pp_workspace *work, edgeai_pp_detection *found);

#if EDGEAI_PP_COEFS > 0

/* The mask of one detection in the making. It covers pixels x1 <= x < x2, y1 <= y < y2 of the image and is empty
 * elsewhere. The outputs of the network must stay as they are until its last row is made. */
typedef struct {
    uint16_t x1, y1, x2, y2;
    /* the rest is private */
    const void *const *outputs;
    const edgeai_pp_view *view;
    int32_t offset;
    int16_t coefs[EDGEAI_PP_COEFS];
    uint16_t first_column;
    uint16_t last_column;
    int32_t row_of[2];
    int32_t logits[2][EDGEAI_PP_PROTO_COLUMNS];
    int64_t blended[EDGEAI_PP_PROTO_COLUMNS];
} edgeai_pp_mask;

/* Prepare the mask of `detection`, which edgeai_pp_detect found with the same outputs and view.
 * Returns 0, or EDGEAI_PP_BAD_ARGUMENT. */
int edgeai_pp_mask_begin(const void *const *outputs, const edgeai_pp_view *view, const edgeai_pp_detection *detection,
                         edgeai_pp_mask *mask);

/* Row `y` of the mask, y1 <= y < y2: `row` receives x2 - x1 bytes, 1 inside the object and 0 outside. Rows may come in
 * any order; from top to bottom is fastest. The sign of the interpolated logit is exact: integers throughout. */
void edgeai_pp_mask_row(edgeai_pp_mask *mask, uint16_t y, uint8_t *row);

#endif

#ifdef __cplusplus
}
#endif
#endif
