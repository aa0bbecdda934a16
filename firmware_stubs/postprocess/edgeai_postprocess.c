/* SPDX-License-Identifier: Apache-2.0 */
#include "edgeai_postprocess.h"

#include <stddef.h>
#include <string.h>
#if defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#endif

#define NETWORK (&edgeai_pp_this_network)
#define EVERY_BYTE 0x01010101u

/* --- reading ------------------------------------------------------------------------------------------------------- */

static const uint8_t *bytes_of(const void *const *outputs, const edgeai_pp_tensor *tensor, uint32_t anchor)
{
    return (const uint8_t *)outputs[tensor->output] + tensor->first + (size_t)anchor * tensor->anchor_step;
}

/* --- candidates: a bounded binary heap with the worst one on top ----------------------------------------------------- */

static int better(const edgeai_pp_candidate *a, const edgeai_pp_candidate *b)
{
    if (a->score != b->score) {
        return a->score > b->score;
    }
    return a->anchor != b->anchor ? a->anchor > b->anchor : a->class_id > b->class_id;
}

static void sift_down(edgeai_pp_candidate *heap, uint32_t count, uint32_t hole, edgeai_pp_candidate value)
{
    for (;;) {
        uint32_t child = 2 * hole + 1;
        if (child >= count) {
            break;
        }
        if (child + 1 < count && better(&heap[child], &heap[child + 1])) {
            ++child;
        }
        if (!better(&value, &heap[child])) {
            break;
        }
        heap[hole] = heap[child];
        hole = child;
    }
    heap[hole] = value;
}

static void offer(edgeai_pp_workspace *work, edgeai_pp_candidate value)
{
    edgeai_pp_candidate *heap = work->candidates;
    ++work->above_threshold;
    if (work->count == EDGEAI_PP_MAX_CANDIDATES) {
        if (better(&value, &heap[0])) {
            sift_down(heap, work->count, 0, value);
        }
        return;
    }
    uint32_t hole = work->count++;
    while (hole > 0 && better(&heap[(hole - 1) / 2], &value)) {
        heap[hole] = heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap[hole] = value;
}

static void sort_best_first(edgeai_pp_workspace *work)
{
    edgeai_pp_candidate *heap = work->candidates;
    for (uint32_t end = work->count; end > 1; --end) {
        const edgeai_pp_candidate last = heap[end - 1];
        heap[end - 1] = heap[0];
        sift_down(heap, end - 1, 0, last);
    }
}

/* --- scores ---------------------------------------------------------------------------------------------------------- */

/* The lowest level whose score is above the threshold; 256 where none is. */
static uint32_t lowest_level(const float *score_of, float threshold)
{
    uint32_t low = 0;
    uint32_t high = EDGEAI_PP_LEVELS;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (score_of[middle] > threshold) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* One run of scores that lie side by side in memory: the classes of an anchor, or the anchors of a class. */
typedef struct {
    uint32_t length;
    uint32_t anchor;      /* of the first score */
    uint32_t class_id;    /* of the first score */
    uint32_t anchor_step; /* 1 or 0 */
} score_run;

/* Whether one of four levels is at least `lowest`, which is in 1..255 and stands in every byte of `lowests`. */
#if defined(__ARM_FEATURE_SIMD32)
static inline int any_at_least(uint32_t four, uint32_t lowests)
{
    return __uqsub8(four, lowests - EVERY_BYTE) != 0; /* saturates at 0 */
}
#else
/* A byte is at least n where adding 128 - n to its lower seven bits (256 - n where n > 128) carries into the eighth; for
 * n <= 128 also where the eighth is set, for n > 128 only where it is. */
static inline int any_at_least(uint32_t four, uint32_t lowests)
{
    const uint32_t lowest = lowests & 0xFF;
    const uint32_t addend = EVERY_BYTE * (lowest > 128 ? 256 : 128) - lowests;
    const uint32_t carried = (four & (EVERY_BYTE * 0x7F)) + addend;
    const uint32_t eighth = lowest > 128 ? carried & four : carried | four;
    return (eighth & (EVERY_BYTE * 0x80)) != 0;
}
#endif

static void offer_bytes(edgeai_pp_workspace *work, const uint8_t *bytes, uint32_t begin, uint32_t end,
                        const score_run *run, uint32_t lowest, const float *score_of)
{
    for (uint32_t i = begin; i < end; ++i) {
        const uint32_t level = bytes[i] ^ NETWORK->flip;
        if (level >= lowest) {
            const uint32_t anchors = i * run->anchor_step;
            const edgeai_pp_candidate found = {
                .score = score_of[level], .anchor = run->anchor + anchors, .class_id = run->class_id + i - anchors};
            offer(work, found);
        }
    }
}

static void scan_run(edgeai_pp_workspace *work, const uint8_t *bytes, const score_run *run, uint32_t lowest,
                     const float *score_of)
{
    const uint32_t flips = EVERY_BYTE * NETWORK->flip;
    const uint32_t lowests = EVERY_BYTE * lowest;
    const uint32_t fours = lowest > 0 ? run->length & ~3u : 0;
    for (uint32_t i = 0; i < fours; i += 4) {
        uint32_t four;
        memcpy(&four, bytes + i, sizeof four);
        if (any_at_least(four ^ flips, lowests)) {
            offer_bytes(work, bytes, i, i + 4, run, lowest, score_of);
        }
    }
    offer_bytes(work, bytes, fours, run->length, run, lowest, score_of);
}

static void scan_group(edgeai_pp_workspace *work, const void *const *outputs, const edgeai_pp_group *group,
                       uint32_t first_anchor, float threshold)
{
    const edgeai_pp_tensor *scores = &group->scores;
    const uint32_t lowest = lowest_level(group->score_of, threshold);
    if (lowest == EDGEAI_PP_LEVELS) {
        return;
    }
    const uint8_t *bytes = (const uint8_t *)outputs[scores->output] + scores->first;
    const int by_class = scores->anchor_step == 1;
    const uint32_t runs = by_class ? EDGEAI_PP_CLASSES : group->anchors;
    const size_t step = by_class ? scores->channel_step : scores->anchor_step;
    for (uint32_t k = 0; k < runs; ++k) {
        const score_run run = {
            .length = by_class ? group->anchors : EDGEAI_PP_CLASSES,
            .anchor = first_anchor + (by_class ? 0 : k),
            .class_id = by_class ? k : 0,
            .anchor_step = (uint32_t)by_class,
        };
        scan_run(work, bytes + k * step, &run, lowest, group->score_of);
    }
}

/* --- boxes ----------------------------------------------------------------------------------------------------------- */

#if EDGEAI_PP_REG_MAX > 0
/* Expectation of a side's distribution, in cells: a softmax over reg_max bins by table, the quotient of two integers. */
static float dfl_side(const uint8_t *bytes, const edgeai_pp_group *group)
{
    const size_t step = group->boxes.channel_step;
    uint8_t levels[EDGEAI_PP_REG_MAX];
    uint8_t highest = 0;
    for (uint32_t bin = 0; bin < EDGEAI_PP_REG_MAX; ++bin) {
        levels[bin] = bytes[bin * step] ^ NETWORK->flip;
        highest = levels[bin] > highest ? levels[bin] : highest;
    }
    uint32_t total = 0;
    uint32_t moment = 0;
    for (uint32_t bin = 0; bin < EDGEAI_PP_REG_MAX; ++bin) {
        const uint32_t weight = group->dfl_weight[highest - levels[bin]];
        total += weight;
        moment += weight * bin;
    }
    return (float)moment / (float)total;
}

static edgeai_pp_box box_at(const void *const *outputs, const edgeai_pp_group *group, uint32_t anchor)
{
    const uint8_t *bytes = bytes_of(outputs, &group->boxes, anchor);
    const size_t side = (size_t)EDGEAI_PP_REG_MAX * group->boxes.channel_step;
    const float x = (float)(anchor % group->columns) + 0.5f;
    const float y = (float)(anchor / group->columns) + 0.5f;
    const float stride = group->stride;
    const edgeai_pp_box box = {
        .x1 = (x - dfl_side(bytes, group)) * stride,
        .y1 = (y - dfl_side(bytes + side, group)) * stride,
        .x2 = (x + dfl_side(bytes + 2 * side, group)) * stride,
        .y2 = (y + dfl_side(bytes + 3 * side, group)) * stride,
    };
    return box;
}
#else
static float real_at(const uint8_t *bytes, const edgeai_pp_tensor *tensor, uint32_t channel)
{
    const int level = bytes[(size_t)channel * tensor->channel_step] ^ NETWORK->flip;
    return (float)(level - tensor->zero_level) * tensor->scale;
}

static edgeai_pp_box box_at(const void *const *outputs, const edgeai_pp_group *group, uint32_t anchor)
{
    const edgeai_pp_tensor *tensor = &group->boxes;
    const uint8_t *bytes = bytes_of(outputs, tensor, anchor);
    const float unit = NETWORK->box_unit;
    const float x = real_at(bytes, tensor, 0) * unit;
    const float y = real_at(bytes, tensor, 1) * unit;
    const float half_width = real_at(bytes, tensor, 2) * unit / 2;
    const float half_height = real_at(bytes, tensor, 3) * unit / 2;
    const edgeai_pp_box box = {
        .x1 = x - half_width, .y1 = y - half_height, .x2 = x + half_width, .y2 = y + half_height};
    return box;
}
#endif

/* --- non-maximum suppression ------------------------------------------------------------------------------------------ */

static float smaller(float a, float b) { return a < b ? a : b; }
static float larger(float a, float b) { return a > b ? a : b; }
static float area(const edgeai_pp_box *box) { return (box->x2 - box->x1) * (box->y2 - box->y1); }

static int overlap(const edgeai_pp_box *a, const edgeai_pp_box *b, float iou)
{
    const float width = smaller(a->x2, b->x2) - larger(a->x1, b->x1);
    const float height = smaller(a->y2, b->y2) - larger(a->y1, b->y1);
    const float common = larger(width, 0) * larger(height, 0);
    /* a product instead of a quotient: boxes without area have IoU 0, not 0/0 */
    return common > iou * (area(a) + area(b) - common);
}

static const edgeai_pp_group *group_of(uint32_t *anchor, uint16_t *index)
{
    uint16_t i = 0;
    while (i + 1 < EDGEAI_PP_GROUPS && *anchor >= NETWORK->groups[i].anchors) {
        *anchor -= NETWORK->groups[i].anchors;
        ++i;
    }
    *index = i;
    return &NETWORK->groups[i];
}

static int beaten(const edgeai_pp_workspace *work, const edgeai_pp_detection *found, int kept,
                  const edgeai_pp_box *box, uint32_t class_id, float iou)
{
    for (int k = 0; k < kept; ++k) {
        if (found[k].class_id == class_id && overlap(&work->kept[k], box, iou)) {
            return 1;
        }
    }
    return 0;
}

static float clipped(float value, float limit) { return smaller(larger(value, 0), limit); }

static void to_image(edgeai_pp_detection *found, const edgeai_pp_box *box, const edgeai_pp_view *view)
{
    found->x1 = clipped((box->x1 - view->pad_left) / view->ratio, view->width);
    found->y1 = clipped((box->y1 - view->pad_top) / view->ratio, view->height);
    found->x2 = clipped((box->x2 - view->pad_left) / view->ratio, view->width);
    found->y2 = clipped((box->y2 - view->pad_top) / view->ratio, view->height);
}

static int suppress(const void *const *outputs, const edgeai_pp_view *view, const edgeai_pp_settings *settings,
                    edgeai_pp_workspace *work, edgeai_pp_detection *found)
{
    const int limit = settings->max_detections < EDGEAI_PP_MAX_DETECTIONS ? settings->max_detections
                                                                          : EDGEAI_PP_MAX_DETECTIONS;
    int kept = 0;
    for (uint32_t i = 0; i < work->count && kept < limit; ++i) {
        const edgeai_pp_candidate *candidate = &work->candidates[i];
        edgeai_pp_detection *place = &found[kept];
        place->anchor = candidate->anchor;
        const edgeai_pp_group *group = group_of(&place->anchor, &place->group);
        const edgeai_pp_box box = box_at(outputs, group, place->anchor);
        if (beaten(work, found, kept, &box, candidate->class_id, settings->iou_threshold)) {
            continue;
        }
        place->score = candidate->score;
        place->class_id = (uint16_t)candidate->class_id;
        to_image(place, &box, view);
        work->kept[kept++] = box;
    }
    return kept;
}

int edgeai_pp_detect(const void *const *outputs, const edgeai_pp_view *view, const edgeai_pp_settings *settings,
                     edgeai_pp_workspace *work, edgeai_pp_detection *found)
{
    if (!outputs || !view || !settings || !work || !found || !(view->ratio > 0)) {
        return EDGEAI_PP_BAD_ARGUMENT;
    }
    if (!(settings->score_threshold >= 0 && settings->score_threshold < 1 && settings->iou_threshold > 0)) {
        return EDGEAI_PP_BAD_ARGUMENT;
    }
    work->above_threshold = 0;
    work->count = 0;
    uint32_t first_anchor = 0;
    for (uint32_t i = 0; i < EDGEAI_PP_GROUPS; ++i) {
        const edgeai_pp_group *group = &NETWORK->groups[i];
        scan_group(work, outputs, group, first_anchor, settings->score_threshold);
        first_anchor += group->anchors;
    }
    sort_best_first(work);
    return suppress(outputs, view, settings, work, found);
}
