/* SPDX-License-Identifier: Apache-2.0 */
#include "edgeai_postprocess.h"

#include <stddef.h>
#include <string.h>

/* --- geometry ---------------------------------------------------------------------------------------------------------- */

/* In double, with one rounding per operation: whole cells of padding are ties in exact numbers (42.8 of 64 cells leave
 * 10.6, and 10.6 - 0.1 is a half), so that only the same arithmetic rounds them as the decode on the host does. */
static uint32_t rounded(double value)
{
    const int32_t whole = (int32_t)value;
    const double rest = value - whole;
    return (uint32_t)whole + (rest > 0.5 || (rest >= 0.5 && whole % 2 != 0));
}

/* The part of `cells` that a side of the image covers: round(p - 0.1) cells of padding before, round(p + 0.1) after. */
static void covered(uint32_t cells, uint32_t side, double gain, uint16_t *begin, uint16_t *end)
{
    const volatile double inside = side * gain; /* volatile: not fused with the subtraction */
    const double padding = (cells - inside) / 2;
    const uint32_t before = rounded(padding - 0.1);
    const uint32_t after = cells - rounded(padding + 0.1);
    *begin = (uint16_t)before;
    *end = (uint16_t)(after > before ? after : before + 1);
}

static double smaller_of(double a, double b) { return a < b ? a : b; }

int edgeai_pp_letterbox(uint32_t width, uint32_t height, edgeai_pp_view *view)
{
    if (!view || !width || !height || width > EDGEAI_PP_MAX_IMAGE_SIDE || height > EDGEAI_PP_MAX_IMAGE_SIDE) {
        return EDGEAI_PP_BAD_ARGUMENT;
    }
    const uint32_t size = EDGEAI_PP_INPUT_SIZE;
    const double ratio = smaller_of((double)size / height, (double)size / width);
    const uint32_t new_width = rounded(width * ratio);
    const uint32_t new_height = rounded(height * ratio);
    view->width = (uint16_t)width;
    view->height = (uint16_t)height;
    view->ratio = (float)ratio;
    view->pad_left = (uint16_t)((size - (new_width ? new_width : 1)) / 2);
    view->pad_top = (uint16_t)((size - (new_height ? new_height : 1)) / 2);
    const double gain = smaller_of((double)EDGEAI_PP_PROTO_ROWS / height, (double)EDGEAI_PP_PROTO_COLUMNS / width);
    covered(EDGEAI_PP_PROTO_ROWS, height, gain, &view->proto_top, &view->proto_bottom);
    covered(EDGEAI_PP_PROTO_COLUMNS, width, gain, &view->proto_left, &view->proto_right);
    return 0;
}

#if EDGEAI_PP_COEFS > 0

#define PROTO (&edgeai_pp_this_network.proto)

/* Bilinear resize of one axis with half-pixel centres: image pixel i lies at (2i + 1) * cells / (2 * side) - 1/2 cells,
 * so that its weights are integers over 2 * side. */
typedef struct {
    uint32_t cell;   /* the cell before the position */
    uint32_t next;   /* the cell after it */
    uint32_t weight; /* of `next`; that of `cell` is 2 * side - weight */
} position;

static position position_of(uint32_t pixel, uint32_t side, uint32_t cells)
{
    const uint32_t unit = 2 * side;
    const uint32_t shifted = (2 * pixel + 1) * cells;
    uint32_t place = shifted > side ? shifted - side : 0;
    if (place > (cells - 1) * unit) {
        place = (cells - 1) * unit;
    }
    position found = {.cell = place / unit};
    found.weight = place - found.cell * unit;
    found.next = found.cell + 1 < cells ? found.cell + 1 : found.cell;
    return found;
}

/* The first pixel at or behind the centre of a cell: (2i + 1) * cells - side >= cell * 2 * side. */
static uint32_t first_pixel(uint32_t cell, uint32_t side, uint32_t cells)
{
    return (cell * 2 * side + side + cells - 1) / cells / 2;
}

static int64_t blend(int64_t a, int64_t b, uint32_t weight, uint32_t unit)
{
    return a * (int64_t)(unit - weight) + b * (int64_t)weight;
}

static uint16_t ceiling(float value)
{
    const uint16_t whole = (uint16_t)value;
    return (uint16_t)(whole + ((float)whole < value));
}

/* --- logits -------------------------------------------------------------------------------------------------------------- */

/* coefs . proto of one row of prototypes, in units of the product of both scales: only the sign will matter. */
static void logits_of_row(const edgeai_pp_mask *mask, uint32_t row, int32_t *logits)
{
    const edgeai_pp_tensor *proto = PROTO;
    const uint8_t flip = edgeai_pp_this_network.flip;
    const uint8_t *pixel = (const uint8_t *)mask->outputs[proto->output] + proto->first;
    pixel += (size_t)(row * EDGEAI_PP_PROTO_COLUMNS + mask->first_column) * proto->anchor_step;
    for (uint32_t column = mask->first_column; column <= mask->last_column; ++column) {
        int32_t sum = mask->offset;
        if (proto->channel_step == 1) {
            for (uint32_t c = 0; c < EDGEAI_PP_COEFS; ++c) {
                sum += mask->coefs[c] * (pixel[c] ^ flip);
            }
        } else {
            for (uint32_t c = 0; c < EDGEAI_PP_COEFS; ++c) {
                sum += mask->coefs[c] * (pixel[(size_t)c * proto->channel_step] ^ flip);
            }
        }
        logits[column] = sum;
        pixel += proto->anchor_step;
    }
}

/* Neighbouring rows of the image mostly share their two rows of prototypes. */
static const int32_t *cached_row(edgeai_pp_mask *mask, uint32_t row)
{
    const uint32_t slot = row % 2;
    if (mask->row_of[slot] != (int32_t)row) {
        logits_of_row(mask, row, mask->logits[slot]);
        mask->row_of[slot] = (int32_t)row;
    }
    return mask->logits[slot];
}

int edgeai_pp_mask_begin(const void *const *outputs, const edgeai_pp_view *view, const edgeai_pp_detection *detection,
                         edgeai_pp_mask *mask)
{
    if (!outputs || !view || !detection || !mask || detection->group >= EDGEAI_PP_GROUPS) {
        return EDGEAI_PP_BAD_ARGUMENT;
    }
    const edgeai_pp_group *group = &edgeai_pp_this_network.groups[detection->group];
    if (detection->anchor >= group->anchors) {
        return EDGEAI_PP_BAD_ARGUMENT;
    }
    mask->outputs = outputs;
    mask->view = view;
    mask->x1 = ceiling(detection->x1);
    mask->y1 = ceiling(detection->y1);
    mask->x2 = ceiling(detection->x2);
    mask->y2 = ceiling(detection->y2);
    mask->row_of[0] = mask->row_of[1] = -1;
    mask->offset = 0;
    const edgeai_pp_tensor *tensor = &group->coefs;
    const uint8_t *bytes = (const uint8_t *)outputs[tensor->output] + tensor->first;
    bytes += (size_t)detection->anchor * tensor->anchor_step;
    for (uint32_t c = 0; c < EDGEAI_PP_COEFS; ++c) {
        const int level = bytes[(size_t)c * tensor->channel_step] ^ edgeai_pp_this_network.flip;
        mask->coefs[c] = (int16_t)(level - tensor->zero_level);
        mask->offset -= mask->coefs[c] * PROTO->zero_level;
    }
    if (mask->x1 >= mask->x2 || mask->y1 >= mask->y2) {
        mask->x2 = mask->x1;
        mask->y2 = mask->y1;
        return 0;
    }
    const uint32_t cells = (uint32_t)(view->proto_right - view->proto_left);
    mask->first_column = (uint16_t)(view->proto_left + position_of(mask->x1, view->width, cells).cell);
    mask->last_column = (uint16_t)(view->proto_left + position_of(mask->x2 - 1u, view->width, cells).next);
    return 0;
}

/* --- rows ------------------------------------------------------------------------------------------------------------------ */

void edgeai_pp_mask_row(edgeai_pp_mask *mask, uint16_t y, uint8_t *row)
{
    const edgeai_pp_view *view = mask->view;
    const position down = position_of(y, view->height, (uint32_t)(view->proto_bottom - view->proto_top));
    const int32_t *upper = cached_row(mask, view->proto_top + down.cell);
    const int32_t *lower = cached_row(mask, view->proto_top + down.next);
    for (uint32_t column = mask->first_column; column <= mask->last_column; ++column) {
        mask->blended[column] = blend(upper[column], lower[column], down.weight, 2u * view->height);
    }
    const uint32_t cells = (uint32_t)(view->proto_right - view->proto_left);
    const uint32_t unit = 2u * view->width;
    const int64_t *logits = mask->blended + view->proto_left;
    const uint32_t last = (uint32_t)(mask->last_column - view->proto_left);
    uint32_t x = mask->x1;
    while (x < mask->x2) {
        const position across = position_of(x, view->width, cells);
        const int64_t a = logits[across.cell];
        const int64_t b = logits[across.next];
        const int same = (a > 0) == (b > 0); /* what lies between two numbers of one sign has that sign */
        uint32_t stop = across.next;
        while (same && stop < last && (logits[stop + 1] > 0) == (a > 0)) {
            ++stop;
        }
        uint32_t end = same && stop == last ? mask->x2 : first_pixel(stop, view->width, cells);
        end = end > mask->x2 ? mask->x2 : end;
        if (same) {
            memset(row, a > 0, end - x);
            row += end - x;
        } else {
            /* negative at the border, where pixels lie before the centre of the first cell */
            int32_t weight = (int32_t)((2 * x + 1) * cells) - (int32_t)(view->width + across.cell * unit);
            for (uint32_t i = x; i < end; ++i) {
                *row++ = blend(a, b, weight > 0 ? (uint32_t)weight : 0, unit) > 0;
                weight += 2 * (int32_t)cells;
            }
        }
        x = end;
    }
}

#endif
